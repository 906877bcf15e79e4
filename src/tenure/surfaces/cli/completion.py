"""``tenure completion``: the script that makes a shell complete verbs, options and job names."""

from __future__ import annotations

import click

from tenure.surfaces.cli.lazy import Verb


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(tenure completion bash)"      in ~/.bashrc
    zsh:  eval "$(tenure completion zsh)"       in ~/.zshrc, after compinit
    fish: tenure completion fish > ~/.config/fish/completions/tenure.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    print(kind(root, {}, "tenure", "_TENURE_COMPLETE").source())
