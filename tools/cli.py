"""The command line `latentspeed`."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """An order gateway for Python trading strategies."""


def main() -> None:
    """Run the command line."""
    app()
