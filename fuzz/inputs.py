"""Where inputs lie: `corpus/TARGET/`, small, in the repository."""

from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
TARGETS = ("sip", "multipart", "sdp", "metadata", "rtp", "srtcp")
KEEP_FILES, KEEP_BYTES = 40, 3000
"""At most so many learnt inputs a target are kept, and none that is longer."""


def keep(folder: Path) -> None:
    """Take the shortest of what each target learnt into the corpus."""
    for target in TARGETS:
        kept = CORPUS / target
        have = {path.read_bytes() for path in kept.glob("*")}
        learnt = sorted((path.read_bytes() for path in (folder / target).glob("*")), key=len)
        fresh = [data for data in learnt if data not in have and len(data) <= KEEP_BYTES]
        room = max(0, KEEP_FILES - len([path for path in kept.glob("*") if not path.name.startswith("seed-")]))
        step = max(1, len(fresh) // room) if room else 0
        for at, data in enumerate(fresh[::step][:room] if step else []):
            (kept / f"learnt-{at:02}-{len(data)}").write_bytes(data)
