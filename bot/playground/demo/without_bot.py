"""What somebody does who has nothing but the by-hand file: reads it, and types its commands as an administrator."""

from __future__ import annotations

import asyncio
import os
import re

import yaml

from bot.playground.demo.stage import DemoFailed, Stage


def texts(stage: Stage) -> list[str]:
    """Those that were shared in the thread, oldest first."""
    files = (f for f in stage.workspace.state.files.values() if f.name == "by-hand.md" and f.complete)
    return [f.data.decode() for f in files if f.data is not None]


def commands(text: str) -> list[str]:
    """What stands between fences, block by block."""
    return re.findall(r"```sh\n(.*?)\n```", text, flags=re.DOTALL)


async def typed(stage: Stage, *blocks: str, within: float = 120.0) -> None:
    """In a shell, one block after another, with the rights of an administrator and nothing of the bot's. within:
    seconds for each. DemoFailed with what was said."""
    config = stage.folder / "admin"
    config.write_text(yaml.safe_dump(stage.shop.kubeconfig_of("admin")))
    config.chmod(0o600)
    env = {k: v for k, v in os.environ.items() if not k.startswith("ROLLBACK_")} | {"KUBECONFIG": str(config)}
    for block in blocks:
        shell = await asyncio.create_subprocess_exec(
            "bash", "-e", "-o", "pipefail", "-c", block, env=env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await asyncio.wait_for(shell.communicate(), within))[0].decode()
        if shell.returncode != 0:
            raise DemoFailed("\n--\n".join([*blocks, said]))
