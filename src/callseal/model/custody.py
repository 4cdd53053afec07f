"""What the custodian needs from outside: a place for one key that can be erased."""

from typing import Protocol


class ErasableCell(Protocol):
    """Keys E_n of 32 bytes by number. A driver says what its `destroy` is worth in its name's line of the certificate."""

    @property
    def driver(self) -> str:
        """A short word: `file`, `openbao`, `pkcs11`."""
        ...

    def numbers(self) -> list[int]:
        """The numbers of the keys that stand, ascending."""
        ...

    def create(self, number: int) -> bytes:
        """Draw and keep E_n durably. Raises Conflict where it stands already, Unavailable."""
        ...

    def read(self, number: int) -> bytes:
        """E_n. Raises NotFound, Unavailable."""
        ...

    def destroy(self, number: int) -> None:
        """Erase E_n; where it is gone already, nothing is to be done. Raises Unavailable."""
        ...
