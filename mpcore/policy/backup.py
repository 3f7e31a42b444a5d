"""Paths in reserve: the full mesh, used only when the first path fails."""

from mpcore.policy.base import LocalAddress
from mpcore.policy.fullmesh import FullMesh


class Backup(FullMesh):
    """Joins like FullMesh, every subflow with the B bit (RFC 8684 §3.2, §3.3.8)."""

    name = "backup"

    def _backup(self, local: LocalAddress) -> bool:
        return True
