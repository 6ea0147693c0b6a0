"""Makes the packages of a build (scripts/package.sh) and looks whether they hold what they promise: the same bytes
each time; a .deb that dpkg installs into a system that has nothing; a wheel that pip installs without a network; a
program that runs in an empty root; and the library, which a project of its own finds, links and reads a real Python with.

    check_packages.py BUILD SOURCES CXX EXAMPLE

EXAMPLE is 1 to build the example, too.
"""
import filecmp
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

build, sources = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
compiler, with_example = sys.argv[3], sys.argv[4] == "1"
environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
# To enter another root, and to be its dpkg, takes root, or a user namespace in which one is.
as_root = [] if os.geteuid() == 0 else ["unshare", "-r"]


def run(*command, **options) -> str:
    result = subprocess.run([str(word) for word in command], env=environment, text=True, timeout=300,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit status {result.returncode}\n{result.stdout}")
    return result.stdout


def check(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(what)


def only(paths) -> Path:
    paths = list(paths)
    check(len(paths) == 1, f"one file expected: {paths}")
    return paths[0]


def interpreter() -> list:
    """The newest release build, and its root."""
    manifest = os.environ.get("PYSCOPE_TEST_INTERPRETERS") or run(sources / "scripts/interpreters.sh").splitlines()[-1]
    lines = [line.split("\t") for line in Path(manifest).read_text().splitlines()]
    return max((line for line in lines if line[1] == "release"), key=lambda line: [int(n) for n in re.findall(r"\d+", line[0])])


def check_example(work: Path) -> None:
    prefix = work / "prefix"
    run("cmake", "--install", build, "--prefix", prefix, "--component", "development")
    run("cmake", "-S", sources / "examples/innermost_lines", "-B", work / "example", "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={compiler}")
    run("cmake", "--build", work / "example")
    _, _, root, executable = interpreter()
    program = "import sys\ndef wait_for_the_end():\n    print('ready', flush=True)\n    sys.stdin.read()\nwait_for_the_end()\n"
    enter = [] if root == "/" else [*as_root, "chroot", root]
    with subprocess.Popen([*enter, executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}) as target:
        check(target.stdout.readline() == "ready\n", "the interpreter does not start")
        answer = run(work / "example/innermost_lines", target.pid)
        target.stdin.close()
    check(re.fullmatch(r"\S+ wait_for_the_end <string>:[34]\n", answer) is not None, f"the example printed: {answer}")


with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    run(sources / "scripts/package.sh", "--build", build, "--output", work / "packages")
    run(sources / "scripts/package.sh", "--build", build, "--output", work / "again")
    names = sorted(path.name for path in (work / "packages").iterdir())
    _, different, missing = filecmp.cmpfiles(work / "packages", work / "again", names, shallow=False)
    check(not different and not missing and len(names) == 4, f"made twice, not the same: {different} {missing} of {names}")
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=work / "packages")
    version = run(build / "pyscope", "--version")

    # The binary: static, so that it runs where there is nothing else.
    binary = only((work / "packages").glob("pyscope-*-linux-*"))
    empty = work / "empty"
    empty.mkdir()
    (empty / "pyscope").write_bytes(binary.read_bytes())
    (empty / "pyscope").chmod(0o755)
    check(run(*as_root, "chroot", empty, "/pyscope", "--version") == version, "it does not run in an empty root")
    headers = run("readelf", "-hldW", binary)
    check("GNU_RELRO" in headers, "the binary has no RELRO")
    # What lazy binding would write to while the program runs has a section of its own.
    check(".got.plt" not in headers, "the binary's RELRO is partial")
    # The sandbox relies on that the heap is above the constants, see src/CMakeLists.txt.
    check(re.search(r"Type:\s+EXEC", headers) is not None, "the binary is position-independent")
    for pattern, what in [("INTERP", "dynamically linked"), ("NEEDED", "linked with a shared library"), (r"GNU_STACK.* RWE", "run with an executable stack")]:
        check(re.search(pattern, headers) is None, f"the binary is {what}")

    # The binary has no symbols: what its code was compiled with is seen in the library, which is most of it.
    checked = run("nm", "-u", only(build.rglob("libpyscope.a")))
    check("__stack_chk_fail" in checked, "the code has no stack protectors")
    check(re.search(r"__\w+_chk$", checked, re.M) is not None, "the code was compiled without _FORTIFY_SOURCE")

    # The .deb, in a root that has the records of dpkg and nothing else.
    system = work / "system"
    (system / "var/lib/dpkg/info").mkdir(parents=True)
    (system / "var/lib/dpkg/updates").mkdir()
    (system / "var/lib/dpkg/status").touch()
    run(*as_root, "dpkg", f"--root={system}", "--log=/dev/null", "--install", only((work / "packages").glob("*.deb")))
    check(run(*as_root, "chroot", system, "/usr/bin/pyscope", "--version") == version, "what the .deb installs does not run")
    verbs = re.findall(r"^  ([a-z]+) ", run(build / "pyscope", "--help").split("Subcommands:")[1].split("\n\n")[0], re.M)
    for path in ["bash-completion/completions/pyscope", "zsh/vendor-completions/_pyscope", "doc/pyscope/copyright",
                 "fish/vendor_completions.d/pyscope.fish", "man/man1/pyscope.1.gz",
                 *(f"man/man1/pyscope-{verb}.1.gz" for verb in verbs)]:
        check((system / "usr/share" / path).stat().st_size > 0, f"the .deb has no {path}")
    run(*as_root, "dpkg", f"--root={system}", "--log=/dev/null", "--purge", "pyscope")
    check(not (system / "usr").exists(), "the .deb leaves files behind")

    # The wheel.
    run(sys.executable, "-m", "pip", "install", "--no-index", "--disable-pip-version-check", "--root-user-action=ignore",
        "--no-deps", "--target", work / "site", only((work / "packages").glob("*.whl")))
    check(run(work / "site/bin/pyscope", "--version") == version, "what the wheel installs does not run")

    if with_example:
        check_example(work)
