"""From a user's script to a worker and back, with nothing between them left out."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from dspex import Context, Var

SRC = str(Path(__file__).parents[2] / "src")
PASSWORD = Var("password", str, "hush", sensitive=True)


def run_as_script(folder: Path, text: str) -> tuple[str, str]:
    """Runs *text* as ``python script.py``. What it wrote to stdout and to stderr."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": SRC}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_script_that_is_all_of_an_application(tmp_path):
    told, _ = run_as_script(
        tmp_path,
        """
        import dataclasses, enum, functools, os, sys
        import anyio
        from dspex import Context, InvalidProgram, Var, isolated

        print("run by", "somebody else" if "_dspex_child" in sys.modules else "the user")

        class Tone(enum.Enum):
            DRY = 1
            WARM = 2

        @dataclasses.dataclass
        class Point:
            x: int

        TONE = Var("tone", Tone, Tone.DRY)

        @isolated
        def shift(point: Point, ctx) -> Point:
            assert type(point) is Point, point
            assert ctx.get(TONE) is Tone.DRY
            ctx.set(TONE, Tone.WARM)
            return Point(point.x + 1)

        @isolated
        def look(thing):
            return thing.x

        @functools.lru_cache
        def kept(n):
            return n

        async def main():
            async with Context(variables=[TONE]) as ctx:
                bound = await ctx.register_program("shift", shift)
                print(await bound(point=Point(1)), await ctx.variables.get(TONE))
                try:
                    await ctx.register_program("kept", {"requires_bridge": True, "program": kept})
                except InvalidProgram as error:
                    print(error)

        if __name__ == "__main__":
            anyio.run(main)
        """,
    )
    first, second, third = told.splitlines()
    assert first == "run by the user"
    assert second == "Point(x=2) Tone.WARM"
    assert "Program 'kept': it needs something of __main__, which isn't run again in a worker" in third
    assert third.endswith("Move it to a module that the worker can import, and register it by its path.")


def test_a_class_that_a_worker_has_not_says_so_where_it_is_used(tmp_path):
    told, _ = run_as_script(
        tmp_path,
        """
        import dataclasses
        import anyio
        from dspex import Context, ProgramFailed, isolated

        @dataclasses.dataclass
        class Point:
            x: int

        @isolated
        def look(thing):
            return thing.x

        async def main():
            async with Context() as ctx:
                bound = await ctx.register_program("look", look)
                try:
                    await bound(thing=Point(1))
                except ProgramFailed as error:
                    print(error.message)

        if __name__ == "__main__":
            anyio.run(main)
        """,
    )
    assert told.startswith("No attribute 'x': this is what a __main__:Point is made of, and its class isn't known here. In a worker")


async def test_a_sensitive_variable_is_masked_in_the_records_a_worker_gets(anyio_backend):
    async with Context(variables=[PASSWORD]) as ctx:
        seen = await (await ctx.register_program("see", "adverse_programs:secret_record"))()

    assert seen.count("<Variable 'password': str = ******** [var_password_1 | version 0]>") == 2
    assert "hush" not in seen
