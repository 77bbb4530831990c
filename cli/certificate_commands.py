"""Commands about certificates: certificate show, diff, verify, merge, summary, sign, key."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..core.errors import ArgumentError
from .output import JsonOption, emit, messages, table

if TYPE_CHECKING:
    from ..conformance.certificates.model import Certificate

_FILE: Final = typer.Argument(metavar="CERT", help="File of a certificate.", show_default=False)
Cert = Annotated[Path, _FILE]
PublicKey = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="File of the public key that must have signed it.", show_default=False),
]
#: Rows that a person reads; JSON has them all.
_SHOWN: Final = 15

certificate = typer.Typer(
    no_args_is_help=True,
    help="Read, compare, verify, merge and sign the certificates that `opmux conformance --certificate FILE` writes.",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(certificate, name="certificate")


@certificate.command()
def show(cert: Cert, public_key: PublicKey = None, json: JsonOption = None) -> None:
    """Say what a certificate says: the verdict first, then profiles, counts, failures and accuracy.

    Example: opmux certificate show acme.json
    """
    from ..conformance.certificates.store import read
    from ..conformance.certificates.summary import headline

    c = read(cert)
    standing = _standing(c, public_key)
    if json:
        emit({"standing": standing, **c.to_dict()}, json)
        return
    typer.echo(headline(c, standing))
    for o in c.incomplete:
        typer.echo(f"not sufficient: {o.reason}: {o.detail}")
    typer.echo(f"implementation {c.backend.implementation}")
    typer.echo(f"suite of opmux {c.suite.version}, opset {c.suite.opset}, {c.suite.digest}")
    typer.echo(f"{c.run.begun}, {c.run.seconds:.0f} s, seed {c.run.seed}: {c.run.command}")
    counted = ", ".join(f"{n} {o.replace('_', ' ')}" for o, n in c.counts.items() if n)
    typer.echo(f"{counted}, {c.assertions} assertions")
    rows = [
        (p.profile, f"{p.passed} of {p.of}", "conformant" * (p.profile in c.conformant), ", ".join(p.missing[:4]))
        for p in c.profiles
    ]
    table(None, ("profile", "ops", "verdict", "next"), rows)
    for f in c.failures[:_SHOWN]:
        typer.echo(f"{f.outcome.upper()} {f.id}\n  {f.message}\n  {f.reproducer}")
    if len(c.failures) > _SHOWN:
        typer.echo(f"and {len(c.failures) - _SHOWN} more failures")
    for w in c.waivers:
        typer.echo(f"waived until {w.get('expiry')}: {w.get('reason')} ({w.get('issue')})")
    worst = sorted(((w, row) for row in c.ops for w in row.worst), key=lambda x: -x[0].error)
    table(
        "largest errors" if worst else None,
        ("op", "dtype", "error", "unit", "kernel"),
        [(row.op, row.dtype, f"{w.error:.3g}", w.unit, w.kernel) for w, row in worst[:_SHOWN]],
        numbers={"error"},
    )


@certificate.command()
def diff(
    old: Annotated[Path, typer.Argument(help="File of the earlier certificate.", show_default=False)],
    new: Annotated[Path, typer.Argument(help="File of the later one.", show_default=False)],
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where something is lost, with 0 otherwise.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Say what users lose and win from one certificate to another.

    Losing a profile, an op, a dtype, accuracy, a determinism class or a claim is a breaking change.

    Exit status 0, and with --exit-code 1 for a breaking change; 2 where the two cannot be compared.

    Example: opmux certificate diff old.json new.json --exit-code
    """
    from ..conformance.certificates.diff import diff as compare
    from ..conformance.certificates.diff import text_of
    from ..conformance.certificates.store import read

    found = compare(read(old), read(new))
    if json:
        emit(found.to_dict(), json)
    if json != "-":
        typer.echo(text_of(found))
    raise typer.Exit(int(exit_code and bool(found.breaking)))


@certificate.command()
def verify(
    cert: Cert,
    public_key: PublicKey = None,
    profile: Annotated[
        str | None, typer.Option(help="Demand that it is conformant to this profile.", show_default=False)
    ] = None,
    rerun: Annotated[
        int, typer.Option(metavar="N", min=0, help="Run N of its passed cases again, on the backend installed here.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides which cases; drawn and shown where absent.", show_default=False)
    ] = None,
    json: JsonOption = None,
) -> None:
    """Look whether a certificate is to be believed: form, seal and signature, its parts, and what is installed here.

    A certificate that tells of failures can be verified too; --profile demands more.

    Exit status 0 where nothing is wrong, 1 where something is.

    Example: opmux certificate verify acme.json --public-key acme.pub --rerun 20
    """
    from ..conformance.certificates.store import read_document
    from ..conformance.certificates.verify import verify as look
    from ..core.runtime import ensure_loaded

    ensure_loaded()
    draw = secrets.randbelow(1 << 31) if seed is None else seed
    found = look(read_document(cert), str(cert), public_key=public_key, profile=profile, rerun=rerun, seed=draw)
    if json:
        emit(found.to_dict(), json)
    if json != "-":
        if found.certificate is not None:
            typer.echo(found.certificate.headline)
        for check in found.checks:
            typer.echo(str(check))
        typer.echo("verified" if found.fine else "NOT VERIFIED")
    raise typer.Exit(int(not found.fine))


@certificate.command()
def merge(
    certs: Annotated[
        list[Path], typer.Argument(metavar="CERT...", help="One certificate of each shard.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the whole one.", show_default=False)],
    json: JsonOption = None,
) -> None:
    """Put the shards of one run together, into a complete certificate or none.

    They must be of the same suite, implementation, device, seed and environment. What is missing, doubled or different
    is named, and nothing is written then.

    Example: opmux certificate merge part1.json part2.json --output acme.json
    """
    from ..conformance.certificates.merge import merge as put_together
    from ..conformance.certificates.store import read, write

    made = put_together([read(path) for path in certs], [str(path) for path in certs])
    write(made, output)
    messages.print(f"wrote {output}", markup=False)
    if json:
        emit(made.to_dict(), json)
    if json != "-":
        typer.echo(f"{made.headline} (self-declared)")


@certificate.command()
def summary(
    cert: Cert,
    badge: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a badge too, as SVG.", show_default=False)
    ] = None,
    public_key: PublicKey = None,
    json: JsonOption = None,
) -> None:
    """Print a certificate as one page of Markdown.

    The badge says self-declared unless --public-key shows who signed it.

    Example: opmux certificate summary acme.json --badge acme.svg
    """
    from ..conformance.certificates import summary as pages
    from ..conformance.certificates.store import read, write_text

    c = read(cert)
    standing = _standing(c, public_key)
    page = pages.summary(c, standing)
    if badge is not None:
        write_text(badge, pages.badge(c, "self-declared" if public_key is None else "signed"))
        messages.print(f"wrote {badge}", markup=False)
    if json:
        emit({"headline": c.headline, "standing": standing, "conformant": list(c.conformant), "markdown": page}, json)
    if json != "-":
        typer.echo(page, nl=False)


@certificate.command()
def sign(
    cert: Cert,
    key: Annotated[Path, typer.Option(metavar="PEM", help="File of an Ed25519 private key.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it; in place where absent.", show_default=False),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Vouch for a certificate with an Ed25519 key; an earlier signature is replaced. Needs the extra `sign`.

    Example: opmux certificate sign acme.json --key acme.pem
    """
    from ..conformance.certificates import sign as signatures
    from ..conformance.certificates.store import read, write

    made = signatures.signed(read(cert), key)
    standing = signatures.check(made)
    write(made, output or cert)
    messages.print(f"wrote {output or cert}", markup=False)
    if json:
        emit({"headline": made.headline, "standing": standing}, json)
    if json != "-":
        typer.echo(f"{made.headline} ({standing})")


@certificate.command()
def key(
    file: Annotated[Path, typer.Argument(help="Where to write the private key.", show_default=False)],
    json: JsonOption = None,
) -> None:
    """Make an Ed25519 key to sign with: FILE, for its owner alone, and FILE.pub. Nothing is overwritten.

    Example: opmux certificate key acme.pem
    """
    from ..conformance.certificates.sign import new_key

    public = new_key(file)
    if json:
        emit({"private": str(file), "public": str(public)}, json)
    if json != "-":
        typer.echo(f"keep {file} secret; publish {public}")


def _standing(c: Certificate, public_key: Path | None) -> str:
    """Return what is known of its origin; a signature that is wrong is an error, one that cannot be checked is not."""
    from ..conformance.certificates import sign as signatures
    from ..conformance.certificates.errors import CertificateError

    try:
        return signatures.check(c, public_key)
    except CertificateError:
        raise
    except ArgumentError:
        if public_key is not None:
            raise
        return signatures.standing(c)
