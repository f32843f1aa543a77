"""Labels by VASP through custodian."""
