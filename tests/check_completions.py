"""Compares the man pages and the completions of bash, zsh and fish with `pyscope VERB --help`, so that an option
that is added to one of them is not forgotten in the others; and asks each shell, as a user does with the tab key.

    check_completions.py PYSCOPE SOURCES
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

pyscope, sources = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
completions = sources / "completions"
# What they call `pyscope` is the one that is tested.
environment = {"PATH": f"{pyscope.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TERM": "dumb",
               "SHELL": "/bin/sh"}
failures = 0


def expect(what: str, seen: set, wanted: set) -> None:
    global failures
    if seen == wanted and wanted:
        return
    failures += 1
    print(f"{what}: missing: {sorted(wanted - seen)}; too much: {sorted(seen - wanted)}")


def run(command: list, **options) -> str:
    return subprocess.run(command, env=environment, check=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, **options).stdout


def help_of(*verb: str) -> str:
    return run([pyscope, *verb, "--help"])


def options_of_help(text: str) -> set:
    return set(re.findall(r"^  (?:-\w,)?(--[a-z-]+)", text, re.M))


verbs = set(re.findall(r"^  ([a-z]+) ", help_of().split("Subcommands:")[1].split("\n\n")[0], re.M))

# --- man pages ---


def options_of_page(name: str) -> set:
    text = (sources / "docs" / "man" / f"{name}.1.scd").read_text()
    heads = re.findall(r"^(\*-.*)\n\t", text, re.M)
    return set(re.findall(r"\*(--[a-z-]+)\*", "\n".join(heads)))


expect("man page of pyscope", options_of_page("pyscope"), options_of_help(help_of()))
for verb in verbs:
    expect(f"man page of {verb}", options_of_page(f"pyscope-{verb}"), options_of_help(help_of(verb)))
    expect(f"man page of pyscope on {verb}",
           set(re.findall(rf"\*pyscope-{verb}\*", (sources / "docs/man/pyscope.1.scd").read_text())),
           {f"*pyscope-{verb}*"})

# --- completions: each takes the words of a command line, of which the last one is to be completed ---


def ask_bash(words: list) -> set:
    script = f"""
source {completions}/pyscope.bash
complete -p pyscope >/dev/null || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
_pyscope || exit 1
((${{#COMPREPLY[@]}} == 0)) || printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return {line.split("  ")[0] for line in run(["bash", "--norc", "-c", script, "bash", *words]).splitlines()}


def ask_fish(words: list) -> set:
    with tempfile.TemporaryDirectory() as home:
        environment["HOME"] = home
        answer = run(["fish", "--no-config", "-c", f"source {completions}/pyscope.fish; complete -C \"$argv\"",
                      " ".join(words)])
    return {line.split("\t")[0] for line in answer.splitlines()}


# zsh completes only in its line editor, so it gets a terminal; what it would offer is written to a file.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
send() { zpty -w shell "$1" }
send 'PROMPT= RPROMPT= PS2=; unset zle_bracketed_paste'
send "fpath=($1 \$fpath); autoload -Uz compinit; compinit -D -u"
send 'compadd() {
  local -a matches
  if [[ ${argv[(I)-O*]} -gt 0 || ${argv[(I)-A*]} -gt 0 || ${argv[(I)-D*]} -gt 0 ]]; then builtin compadd "$@"; return; fi
  builtin compadd -O matches "$@"
  (( $#matches )) && print -rl -- $matches >>'"${(qq)2}"'
  builtin compadd "$@"
}'
send 'finish() { print -r -- "(end)" >>'"${(qq)2}"'; exit }; zle -N finish; bindkey "^X" finish; bindkey "^I" complete-word'
send 'print -r -- "(start)" >>'"${(qq)2}"
zpty -w -n shell "$3"$'\t\x18'
zpty -r shell line '*no such text*' 2>/dev/null
zpty -d shell
"""


def ask_zsh(words: list) -> set:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "matches"
        run(["zsh", "-f", "-c", ZSH, "zsh", str(completions), str(out), " ".join(words)], cwd=folder)
        text = out.read_text()
    assert "(start)" in text and "(end)" in text, text
    return {line.split("  ")[0].rstrip("=") for line in text.splitlines() if not line.startswith("(")}


shells = {"bash": ask_bash, "fish": ask_fish, "zsh": ask_zsh}
for shell, ask in shells.items():
    if shutil.which(shell) is None:
        print(f"{shell} is not installed: scripts/install-dependencies.sh --test")
        failures += 1
        continue
    expect(f"{shell}: verbs", ask(["pyscope", ""]) - {"--help", "-h", "--version"}, verbs)
    for verb in verbs:
        # fish names a value of an optional one besides.
        seen = {word for word in ask(["pyscope", verb, "--"]) if word != "--pause=all" and word != "--version"}
        expect(f"{shell}: options of {verb}", seen, options_of_help(help_of(verb)))
    expect(f"{shell}: values of --color", ask(["pyscope", "dump", "--color", ""]), {"auto", "always", "never"})

# PIDs: those of `pyscope ps`, of which one was started for this.
with subprocess.Popen([sys.executable, "-c", "import sys; print('ready', flush=True); sys.stdin.read()"],
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as target:
    assert target.stdout.readline() == "ready\n"
    pid = str(target.pid)
    for shell, ask in shells.items():
        if shutil.which(shell) is None:
            continue
        for verb in ("dump", "why", "inspect"):
            expect(f"{shell}: the PID for {verb}", ask(["pyscope", verb, pid[:-1]]) & {pid}, {pid})
        expect(f"{shell}: the second PID", ask(["pyscope", "dump", "--json", "1", pid[:-1]]) & {pid}, {pid})
        if pid in ask(["pyscope", "why", "1", pid[:-1]]):
            expect(f"{shell}: why takes one PID", {pid}, set())
    target.stdin.close()

sys.exit(1 if failures else 0)
