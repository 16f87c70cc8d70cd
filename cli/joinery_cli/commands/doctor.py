"""`joinery doctor`."""

from __future__ import annotations

from joinery_cli import exits
from joinery_cli.output import clean, print_json, show


def doctor_command(*, json: bool) -> int:
    """Prints what was found out about this machine; returns the exit code."""
    from joinery_cli.local import doctor

    checks = doctor()
    if json:
        rows = [{"name": c.name, "ok": c.ok, "detail": c.detail, "hint": c.hint} for c in checks]
        print_json({"ok": all(c.ok for c in checks), "checks": rows})
    else:
        for check in checks:
            hint = f" ({check.hint})" if check.hint else ""
            show(clean(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:12}  {check.detail}{hint}"))
    return exits.OK if all(check.ok for check in checks) else exits.FAILED
