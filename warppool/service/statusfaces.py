"""The faces of this machine alone, put together: the status files and the status socket of a program."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from warppool.config.faceoptions import StatusConfig
from warppool.config.faces import FOLDER
from warppool.service.faces import StoppableThread
from warppool.stats.ckpool import pool_status, shown_users, user_status
from warppool.stats.filenames import file_name
from warppool.stats.snapshot import StatsSnapshot
from warppool.status.answers import StatusAnswers
from warppool.status.files import OWN, PUBLIC, FilesOfMinute, StatusFiles, UserFile
from warppool.status.place import socket_path
from warppool.status.server import StatusSocket, open_socket, remove_socket


def status_faces(config: StatusConfig, data_dir: Path, latest: Callable[[], StatsSnapshot],
                 resources: ExitStack) -> list[StoppableThread]:
    """The threads `status-files` and `status`, which read `latest`; the second only where there can be a socket.

    `data_dir` is locked by this process. `resources` takes the socket away at the end.
    """
    modes = OWN if config.dir is None else PUBLIC
    faces: list[StoppableThread] = [
        StatusFiles(config.dir or data_dir / FOLDER, modes, partial(pages_of, latest))]
    path = socket_path(data_dir)
    listener = open_socket(path, data_dir)
    if listener is not None:
        server = StatusSocket(listener, StatusAnswers(latest))
        resources.callback(remove_socket, path, data_dir)
        resources.callback(server.close)
        faces.append(server)
    return faces


def pages_of(latest: Callable[[], StatsSnapshot]) -> FilesOfMinute | None:
    """The files of this minute; None while the books are being read, whose numbers an earlier start has written.

    The snapshot with number 0 is there before anything was counted.
    """
    snapshot = latest()
    if not snapshot.is_whole or not snapshot.number:
        return None
    users = (UserFile(file_name(user.name), partial(user_status, user)) for user in shown_users(snapshot))
    return FilesOfMinute(pool_status(snapshot), users)
