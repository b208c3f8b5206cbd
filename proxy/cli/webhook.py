"""``outrider webhook``: inject pods when they are created. ``outrider webhook certs``: certificates of our own making."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from proxy.cli.inject import read_settings, read_version, setting_options
from proxy.inject.settings import LOG_LEVELS

PLACE = "IP:PORT"
MISSING = 'the package cryptography is not installed: pip install "outrider[webhook]"'


def _place(text: str) -> tuple[str, int]:
    ip, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise click.UsageError(f"{text!r} is not of the form IP:PORT")
    return ip.strip("[]") or "0.0.0.0", int(port)


@click.command("webhook")
@click.option(
    "--cert", "certificate", required=True, type=click.Path(), help="PEM file; read again when it changes"
)
@click.option("--key", required=True, type=click.Path(), help="PEM file; read again when it changes")
@click.option(
    "--client-ca", default="", type=click.Path(), help="callers need a certificate signed by one of these"
)
@click.option(
    "--listen", default="0.0.0.0:8443", show_default=True, metavar=PLACE, help="reviews: POST /inject"
)
@click.option(
    "--operations",
    default="0.0.0.0:8080",
    show_default=True,
    metavar=PLACE,
    help="/healthz, /readyz, /stats/prometheus, in plain text",
)
@click.option(
    "--namespace", "namespaces", multiple=True, help="only these (patterns like shop-*); all without it"
)
@click.option(
    "--ignore-namespace", "ignored", multiple=True, help="not these; kube-system and its like without it"
)
@click.option(
    "--on-error",
    type=click.Choice(["allow", "deny"]),
    default="allow",
    show_default=True,
    help="allow: a pod that cannot be injected runs without a sidecar; deny: it does not run",
)
@click.option("--opt-in", is_flag=True, help='only what has sidecar.outrider/inject: "true"')
@click.option("--kubernetes-version", default="1.33", show_default=True, help="native sidecars from 1.29 on")
@click.option(
    "--webhook-log-level",
    "log_level_of_webhook",
    type=click.Choice(LOG_LEVELS),
    default="info",
    show_default=True,
    help="of this process",
)
@setting_options
def command(
    certificate: str,
    key: str,
    client_ca: str,
    listen: str,
    operations: str,
    namespaces: tuple[str, ...],
    ignored: tuple[str, ...],
    on_error: str,
    opt_in: bool,
    kubernetes_version: str,
    log_level_of_webhook: str,
    **values: Any,
) -> int:
    """Serve as a mutating admission webhook (AdmissionReview v1). config/kubernetes has what to apply.

    The settings of injected sidecars are those of "outrider inject". A subcommand: outrider webhook certs.
    """
    from proxy.inject.pod import Policy
    from proxy.server.log import set_log_level, set_up_logging
    from proxy.server.options import Options
    from proxy.webhook.options import SYSTEM, WebhookOptions
    from proxy.webhook.run import run

    options = WebhookOptions(
        Policy(read_settings(values), not opt_in, read_version(kubernetes_version)),
        certificate,
        key,
        _place(listen),
        _place(operations),
        client_ca,
        namespaces,
        ignored or SYSTEM,
        on_error == "allow",
    )
    set_up_logging(Options(log_level=log_level_of_webhook))
    set_log_level("webhook", log_level_of_webhook)
    return run(options)


@click.command("certs")
@click.option("--dir", "folder", type=click.Path(), help="write ca.crt, tls.crt and tls.key there")
@click.option("--service", default="outrider-webhook", show_default=True, help="the webhook's Service")
@click.option("--namespace", default="outrider-system", show_default=True, help="its namespace")
@click.option("--name", "names", multiple=True, help="further DNS names")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650))
@click.option("--secret", default="", help="print a Secret of this name (JSON), for kubectl apply -f -")
@click.option("--ca-bundle", is_flag=True, help="print the authority as a caBundle")
def certs_command(
    folder: str | None,
    service: str,
    namespace: str,
    names: tuple[str, ...],
    days: int,
    secret: str,
    ca_bundle: bool,
) -> int:
    """Make an authority and a certificate for the webhook's Service.

    With neither --dir nor --secret nor --ca-bundle nothing would be left of them, so one is needed. To a caBundle
    that is in use belongs the authority made with the same command.
    """
    from proxy.base.clock import Clock
    from proxy.webhook.run import utc

    try:
        from proxy.webhook.certs import make, service_names
    except ImportError:
        raise click.ClickException(MISSING) from None
    if folder is None and not secret and not ca_bundle:
        raise click.UsageError("say where to: --dir, --secret or --ca-bundle")
    made = make([*service_names(service, namespace), *names], days, utc(Clock()))
    if folder is not None:
        try:
            made.write(Path(folder))
        except OSError as error:
            raise click.ClickException(str(error)) from None
    if secret:
        sys.stdout.write(json.dumps(made.secret(secret, namespace), indent=2) + "\n")
    if ca_bundle:
        sys.stdout.write(made.bundle + "\n")
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    chosen, rest = (certs_command, arguments[1:]) if arguments[:1] == ["certs"] else (command, arguments)
    name = "outrider webhook certs" if chosen is certs_command else "outrider webhook"
    try:
        code: int = chosen.main(rest, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
