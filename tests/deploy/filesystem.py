"""What a service sees of this machine's files: programs and packages, read-only, and its own folders. Nothing else."""

from __future__ import annotations

import compileall
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.deploy.compose_file import Mount, Service
from tests.deploy.deployment import ROOT
from tests.deploy.image import Image

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
PACKAGES = "/opt/packages"
ENVIRONMENT = "/opt/splitfed"
"""Where the image has what is this environment's own here."""
LEAVE = ".outside"

PROGRAM = """\
set -e
mount --make-rprivate /
mount --bind {root} {root}
cd {root}
{mounts}
mount -t proc proc proc
echo {name} > proc/sys/kernel/hostname
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=1777 shm dev/shm
pivot_root . {leave}
cd {workdir}
umount -l /{leave}
echo >&0
exec < /dev/null
{command} &
child=$!
trap 'kill -TERM $child' TERM
code=0
wait $child || code=$?
while kill -0 $child 2> /dev/null; do code=0; wait $child || code=$?; done
exit $code
"""
"""The first process of a service: it makes what is seen, says so to whoever holds the other end of its standard input,
a pipe, and stands by the service's own process as `init: true` has it."""


class Filesystem:
    """The root of one service.

    Args:
        folder: of this service; its root is made in it, and the volumes that it alone has.
        volumes: where the volumes lie that have names.
        project: what relative paths in `service` start from.
        below: the root that this one's home is a copy of, if it is there.
        installed: where `install` has put splitfed.
    """

    def __init__(
        self,
        service: Service,
        image: Image,
        folder: Path,
        *,
        volumes: Path,
        project: Path,
        below: Path,
        installed: Path,
    ) -> None:
        self._service = service
        self._image = image
        self._root = folder / "root"
        self._alone = folder / "volumes"
        self._volumes = volumes
        self._project = project
        self._below = below
        self._installed = installed

    def make(self, hosts: str) -> None:
        """Make all folders, and the few files that are its own."""
        for folder in ("proc", "sys", "dev/shm", "etc", LEAVE, *self._image.folders):
            self._folder(folder)
        for folder in ("tmp", "var/tmp"):
            self._folder(folder).chmod(0o1777)
        if not self._inside(self.home).exists():
            self._make_home()
        for folder in self._image.own:
            self._give(self._folder(folder))
        for system in SYSTEM:
            if Path(system).is_symlink():
                self._link(system, str(Path(system).readlink()))
        for name in ("fd", "stdin", "stdout", "stderr"):
            self._link(f"dev/{name}", "/proc/self/fd" + {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}[name])
        for name, text in self._files(hosts).items():
            self._inside(f"etc/{name}").write_text(text, encoding="utf-8")
        for source, target, _ in self._mounts():
            self._point(source, target)

    @property
    def home(self) -> str:
        """That of the image's user."""
        return "/root" if self._image.uid == 0 else f"/home/{self._image.user}"

    def program(self, command: str) -> str:
        """What a shell runs, as the first process of new namespaces, so that the service runs this in its root."""
        lines = []
        for source, target, read_only in self._mounts():
            option = "bind,ro" if read_only else "bind"
            lines.append(f"mount -o {option} {shlex.quote(str(source))} {shlex.quote(target.lstrip('/'))}")
        return PROGRAM.format(
            name=self._service.name, root=shlex.quote(str(self._root)), mounts="\n".join(lines), leave=LEAVE,
            workdir=shlex.quote(self._image.workdir), command=command,
        )  # fmt: skip

    def own(self) -> set[str]:
        """Where folders and files of the image are mounted."""
        return {"/", "/proc", "/sys", "/dev/shm"} | {target for _, target in self._image_mounts()}

    def _image_mounts(self) -> Iterator[tuple[Path, str]]:
        for name in (*SYSTEM, *DEVICES):
            if Path(name).exists() and not Path(name).is_symlink():
                yield Path(name), name
        for prefix in sorted({Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}):
            if not prefix.is_relative_to("/usr"):
                yield prefix, str(prefix)
        yield Path(sys.prefix), ENVIRONMENT
        yield self._installed, PACKAGES

    def _mounts(self) -> Iterator[tuple[Path, str, bool]]:
        """Source, target, whether it is read-only."""
        for source, target in self._image_mounts():
            yield source, target, target not in DEVICES
        given = {mount.target for mount in self._service.mounts}
        for target in self._image.volumes:
            if target not in given:
                yield self._volume(self._alone / target.strip("/"), target), target, False
        for mount in self._service.mounts:
            yield self._source(mount), mount.target, mount.read_only

    def _source(self, mount: Mount) -> Path:
        if mount.is_volume:
            return self._volume(self._volumes / mount.source, mount.target)
        return self._project / Path(mount.source).expanduser()

    def _volume(self, folder: Path, target: str) -> Path:
        """A volume is given to whom the image gives the folder that it is first mounted at."""
        if not folder.exists():
            folder.mkdir(parents=True)
            if self._image.owns(target):
                self._give(folder)
        return folder

    def _make_home(self) -> None:
        """As the image has it: with what its steps have left there."""
        home, built = self._inside(self.home), self._below / self.home.lstrip("/")
        if built.exists():
            home.parent.mkdir(parents=True)
            subprocess.run(["cp", "--archive", str(built), str(home)], check=True)
        else:  # this is the root below, or there is none
            self._give(self._folder(self.home))

    def _inside(self, name: str) -> Path:
        return self._root / name.lstrip("/")

    def _folder(self, name: str) -> Path:
        path = self._inside(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _give(self, folder: Path) -> None:
        os.chown(folder, self._image.uid, self._image.uid)

    def _link(self, name: str, target: str) -> None:
        path = self._inside(name)
        if not path.is_symlink():
            path.symlink_to(target)

    def _point(self, source: Path, target: str) -> None:
        """Something to mount upon."""
        if source.is_dir():
            self._folder(target)
            return
        path = self._inside(target)
        self._folder(str(Path(target).parent))
        path.touch()

    def _files(self, hosts: str) -> Mapping[str, str]:
        user, uid = self._image.user, self._image.uid
        return {
            "hosts": hosts,
            "hostname": f"{self._service.name}\n",
            "resolv.conf": "",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            "passwd": f"root:x:0:0::/root:/bin/sh\n{user}:x:{uid}:{uid}::{self.home}:/bin/sh\n",
            "group": f"root:x:0:\n{user}:x:{uid}:\n",
        }


def install(folder: Path) -> None:
    """Copy splitfed of this checkout there and compile it, as pip would: what is edited meanwhile changes no run."""
    for name in ("splitfed", "scenarios"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(folder / name, ddir=f"{PACKAGES}/{name}", quiet=1)
