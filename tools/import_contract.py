"""An import-linter contract: a room may use only the outside modules on its list."""

from importlinter import Contract, ContractCheck, fields, output


class OnlyThese(Contract):
    rooms = fields.ListField(subfield=fields.StringField())
    allowed = fields.SetField(subfield=fields.StringField())

    def check(self, graph, verbose):
        found = []
        root = self.session_options["root_packages"][0]
        for room in self.rooms:
            pkg = f"{root}.{room}"
            for module in {pkg} | graph.find_descendants(pkg):
                for other in graph.find_modules_directly_imported_by(module):
                    if other.split(".")[0] != root and other not in self.allowed:
                        found.append((module, other))
        return ContractCheck(kept=not found, metadata={"found": sorted(found)})

    def render_broken_contract(self, check):
        for module, other in check.metadata["found"]:
            output.print_error(f"{module} may not import {other}", bold=False)
