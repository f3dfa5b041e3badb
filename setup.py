"""What only code can say: the extensions, the instruction-set variants, the variants for tests.

Static metadata is in pyproject.toml. Environment:

ALSX_DEBUG=1            bounds checks and -O1 -g
ALSX_SANITIZE=1         the address and undefined-behaviour sanitizers of gcc or clang
ALSX_SANITIZE=thread    their thread sanitizer
ALSX_ONE_LANE=1         kernels without the vector extension: what MSVC compiles, for testing it elsewhere
"""

import os
import platform
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, PlatformError
from setuptools.modified import newer_group


def flag(name):
    return os.environ.get(name, "") not in {"", "0"}


DEBUG, SANITIZE, ONE_LANE = flag("ALSX_DEBUG"), flag("ALSX_SANITIZE"), flag("ALSX_ONE_LANE")
SANITIZERS = "thread" if os.environ.get("ALSX_SANITIZE") == "thread" else "address,undefined"
# The limited API does not exist for free-threaded builds of CPython.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

SIMD = Path("alsx", "_simd")
BUILD = Path("build", "debug" if DEBUG else "release")


def target():
    """The machine that is built for: cross builds name it in ARCHFLAGS (macOS) or in the platform."""
    if sys.platform == "darwin":
        # The variants have flags of their own for each machine, so a universal2 Python builds for one of them.
        os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
        machines = re.findall(r"-arch\s+(\S+)", os.environ["ARCHFLAGS"])
        if len(set(machines)) != 1:
            raise SystemExit(
                f"alsx: ARCHFLAGS is {os.environ['ARCHFLAGS']!r}; one build is for one machine, so name one, such as "
                "'-arch arm64', and build twice for both."
            )
        version = os.environ.get("MACOSX_DEPLOYMENT_TARGET") or sysconfig.get_platform().split("-")[1]
        # Else the wheel of a universal2 Python would claim to hold both.
        os.environ.setdefault("_PYTHON_HOST_PLATFORM", f"macosx-{version}-{machines[0]}")
        return machines[0]
    return sysconfig.get_platform().rpartition("-")[2]


X86 = target() in {"x86_64", "amd64"}

# One object file an instruction set, from one source: (name, gcc and clang flags, MSVC flags). The features are named
# one by one since older compilers do not know -march=x86-64-v3.
V3 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe"]
V4 = [*V3, *("-mavx512" + x for x in ("f", "bw", "cd", "dq", "vl")), "-mprefer-vector-width=512"]
LEVELS = [("base", [], [])]
if X86:
    LEVELS += [("v3", V3, ["/arch:AVX2"]), ("v4", V4, ["/arch:AVX512"])]


class BuildExt(build_ext):
    def build_extension(self, ext):
        sources = [*ext.sources, *ext.depends]
        if not (self.force or newer_group(sources, self.get_ext_fullpath(ext.name), "newer")):
            return
        self.check_compiler()
        msvc = self.compiler.compiler_type == "msvc"
        if msvc and SANITIZE:
            raise SystemExit("alsx: ALSX_SANITIZE is for gcc and clang; unset it to build with MSVC.")
        compile_args, link_args = self.flags(msvc)
        macros = [*ext.define_macros, *([("ALSX_X86", "1")] if X86 else [])]
        macros += [("ALSX_ONE_LANE", "1")] if ONE_LANE else []

        ext.define_macros = macros
        ext.extra_compile_args = compile_args
        ext.extra_link_args = link_args
        ext.extra_objects = []
        for name, gnu_flags, msvc_flags in LEVELS if ext.name == "alsx._core" else []:
            ext.extra_objects += self.compiler.compile(
                [str(SIMD / f"kernels_{name}.c")],
                output_dir=self.build_temp,
                macros=macros,
                extra_postargs=[*compile_args, *(msvc_flags if msvc else gnu_flags)],
            )
            normals = SIMD / f"normals_{name}.c"
            if not normals.exists():  # the level draws another one's
                continue
            # Without fused multiply-adds, so that every instruction set draws the same random numbers.
            exact = [x for x in compile_args if x != "/fp:contract"] if msvc else [*compile_args, "-ffp-contract=off"]
            ext.extra_objects += self.compiler.compile(
                [str(normals)],
                output_dir=self.build_temp,
                macros=macros,
                extra_postargs=[*exact, *(msvc_flags if msvc else gnu_flags)],
            )
        super().build_extension(ext)

    def check_compiler(self):
        """Refuse to go on without a compiler or without Python's headers, before anything else is blamed."""
        failed = self.compile_error("int main(void) { return 0; }\n")
        if failed is not None:
            raise SystemExit(
                f"alsx: there is no working C compiler ({failed}). Install one (Debian and Ubuntu: apt install gcc; Fedora: dnf "
                "install gcc; macOS: xcode-select --install; Windows: Build Tools for Visual Studio), or name yours in the "
                "environment variable CC."
            )
        failed = self.compile_error("#include <Python.h>\nint main(void) { return 0; }\n")
        if failed is not None:
            raise SystemExit(
                f"alsx: the C compiler does not find Python's headers ({failed}). Install them (Debian and Ubuntu: apt install "
                "python3-dev; Fedora: dnf install python3-devel)."
            )

    def compile_error(self, code):
        """Compile a test program; return None, or the reason why that failed."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "test.c")
            source.write_text(code)
            try:
                self.compiler.compile([str(source)], output_dir=folder, include_dirs=self.include_dirs)
            except (CompileError, PlatformError) as error:
                return " ".join(str(error).split())
        return None

    def flags(self, msvc):
        """Compile and link flags of every file."""
        if msvc:
            # /fp:contract allows multiply and add to fuse, as -ffp-contract=fast does.
            return ["/Od"] if DEBUG else ["/O2", "/fp:contract"], []
        # No -ffast-math: it breaks NaN, and an object linked with it changes the arithmetic of the whole process.
        args = ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-pthread"]
        if SANITIZE:
            sanitizers = [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=undefined"]
            return [*args, "-O1", "-g", "-fno-omit-frame-pointer", *sanitizers], ["-pthread", *sanitizers]
        if DEBUG:
            return [*args, "-O1", "-g"], ["-pthread"]
        # CPython's own flags often hold -g, which makes the file ten times as large. Only the PyInit functions, which
        # Python's header exports itself, are to be seen from outside.
        strip = ["-Wl,--strip-all"] if sys.platform.startswith("linux") else []
        return [*args, "-O3", "-g0", "-fvisibility=hidden"], ["-pthread", *strip]


def configuration():
    """A file that is newer than the last build whenever the environment asks for another one."""
    names = [
        "ALSX_DEBUG",
        "ALSX_SANITIZE",
        "ALSX_ONE_LANE",
        "ARCHFLAGS",
        "CC",
        "CFLAGS",
        "LDFLAGS",
    ]
    text = "".join(f"{name}={os.environ.get(name, '')}\n" for name in names)
    path = Path("build", "configuration.txt")
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return str(path)


SHARED = ["alsx/_core.pxd", "alsx/_pool.pxd", "alsx/_parallel/pool.h", (SIMD / "kernels.h").as_posix()]


def extension(name, sources=(), depends=()):
    """A compiled module of this name, from its .pyx and C sources."""
    return Extension(
        f"alsx.{name}",
        [f"alsx/{name}.pyx", *sources],
        depends=["setup.py", configuration(), *SHARED, *depends],
        include_dirs=[SIMD.as_posix(), "alsx/_parallel"],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED else [],
        py_limited_api=LIMITED,
    )


core = extension(
    "_core",
    ["alsx/_simd/dispatch.c"],
    [path.as_posix() for path in sorted(SIMD.glob("*.[chi]*")) if path.name != "lines.h"],
)
regression = extension("_regression")
scores = extension("_scores")
sort = extension("_sort")
csv = extension("_csv", depends=[(SIMD / "lines.h").as_posix()])
pool = extension("_pool", ["alsx/_parallel/pool.c"])

# Cython does not see a change of the directives below, so C files older than this one are written again.
generated = [BUILD / "alsx" / f"{name}.c" for name in ("_core", "_csv", "_pool", "_regression", "_scores", "_sort")]
changed = Path("setup.py").stat().st_mtime

setup(
    ext_modules=cythonize(
        [pool, core, regression, scores, sort, csv],
        build_dir=BUILD.as_posix(),
        force=any(path.exists() and path.stat().st_mtime < changed for path in generated),
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "freethreading_compatible": True,
            "autotestdict": False,
        },
    ),
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
