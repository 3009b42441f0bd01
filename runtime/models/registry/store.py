"""Trained models by name and digest, where they are kept, and which of them a name means.

Knows where a model lies; what is in one, `world_model.checkpoint` knows. A registry at a URL keeps its models
there, and those that were used here in the folder. Invariant: a digest's folder is never changed, and comes to be whole
or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import NotFound, Unavailable, UsageError, VerificationFailed
from runtime.explain import nearest
from runtime.models.registry.place import NAME, Folder, Place
from runtime.models.registry.pointers import ID, LATEST, is_of, latest_in, standing_in, succession_in
from runtime.models.registry.urls import is_clear
from runtime.scenario import ReasonerSettings
from runtime.settings import Settings, in_upload
from telemetry.events.values import ModelId
from world_model.errors import CheckpointError

MODELS: Final = "models"
"""The folder of a home that they lie in, or are fetched to."""

REASONERS: Final = frozenset(map(str, get_args(ReasonerSettings.model_fields["kind"].annotation)))


class Registry(BaseModel):
    """Where models are kept: in `folder`, or at `url`, whose models come to `folder` as they are needed."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    url: str | None = Field(default=None, repr=False)

    def place(self) -> Place:
        """Where its models are looked for. Raises `UsageError` and `Unavailable` for a URL that cannot be used."""
        if self.url is None:
            return Folder(self.folder)
        if self.url.startswith(LOCAL):
            return Folder(Path(self.url.removeprefix(LOCAL)))
        from runtime.models.registry.remote import Remote  # loads fsspec, which a folder does without

        return Remote(self.url)


LOCAL: Final = "file://"


class Kept(NamedTuple):
    """A model that is there. Its `folder` holds it once it was looked for by `find` or `folder_of`."""

    name: str
    digest: str
    folder: Path
    latest: bool
    promoted: bool = False
    """What its name alone means, where any of it is promoted; else the latest is."""

    @property
    def model(self) -> ModelId:
        return f"{self.name}@{self.digest}"


def registry_of(settings: Settings) -> Registry:
    """Raises `UsageError` for a place that cannot be meant."""
    home, given = settings.home.expanduser() / MODELS, settings.models
    if given is None:
        return Registry(folder=home)
    if "://" in given:
        if "::" in given:
            raise UsageError("the setting models takes one URL, such as s3://bucket/models, and no chain of them")
        if not is_clear(given):
            raise UsageError(
                "the setting models has an '@' or a '#' too many for a URL. In a user or password write '@' as %40, "
                "'#' as %23 and '/' as %2F, or leave them to what the driver reads from its environment"
            )
        url = given.rstrip("/")
        return Registry(folder=home) if url == f"{LOCAL}{home}" else Registry(folder=home, url=url)
    folder = Path.cwd() / Path(given).expanduser()
    if in_upload(folder):
        raise UsageError(
            f"the models {given!r} would lie in this job's upload, which Ray deletes with the job. Leave the setting "
            "models out, or give an absolute path or a URL"
        )
    return Registry(folder=folder)


def check_name(name: str) -> None:
    """Raises `UsageError` for what cannot be a model's name."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a model: it takes lower-case letters, digits, - and _, such as maze. "
            "Nothing was written"
        )
    if name in REASONERS:
        raise UsageError(
            f"{name!r} is no name of a model: what a scenario does by itself is called after its reasoner, such as "
            f"{name}@4f6b01aabbcc. Choose another one. Nothing was written"
        )


def kept(registry: Registry, name: str | None = None) -> list[Kept]:
    """Every model, or those of one name: by name, the latest of each first, then by age, newest first. Of those at a
    URL some may not have been fetched."""
    place = registry.place()
    found: list[Kept] = []
    for each, digests in sorted(place.models(name).items()):
        latest, stands = latest_in(place, each), standing_in(place, each)
        for digest in sorted(digests, key=lambda one: (one != latest, -digests[one], one)):
            folder = registry.folder / each / digest
            found.append(Kept(each, digest, folder, digest == latest, f"{each}@{digest}" == stands))
    return found


def folder_at(which: str, *, base: str | None = None) -> Path:
    """The folder that a path names, relative to `base` or to the current one. Raises `NotFound`."""
    folder = Path(base or Path.cwd()) / Path(which).expanduser()
    if not folder.is_dir():
        raise NotFound(f"there is no model's folder at {folder}")
    return folder


def find(registry: Registry, which: str) -> Kept:
    """The model `NAME`, which is the promoted one or else the latest, `NAME@DIGEST`, with the digest's first digits at
    least, or in the folder `PATH`, which has a slash in it; it is in its folder then. Raises `NotFound` with the
    nearest, and what `folder_of` raises."""
    if "/" in which:
        folder = folder_at(which).resolve()
        home = Folder(folder.parent.parent)
        latest, stands = latest_in(home, folder.parent.name), standing_in(home, folder.parent.name)
        model = f"{folder.parent.name}@{folder.name}"
        return Kept(folder.parent.name, folder.name, folder, latest == folder.name, stands == model)
    found = meant(registry, which)
    if not found.folder.is_dir():
        _fetch(registry, found)
    return found


def folder_of(registry: Registry, model: ModelId) -> Path:
    """Where the model with that id lies, without a look at the registry's URL when it is here already. Raises
    `NotFound` where it is nowhere, `Unavailable` where the URL or the disk does not do, and `VerificationFailed` where
    what is at the URL is not that model."""
    found = ID.fullmatch(model)
    if found is None:
        raise NotFound(f"{model!r} is no id of a trained model, such as maze@0123456789ab")
    folder = registry.folder / found[1] / found[2]
    return folder if folder.is_dir() else find(registry, model).folder


def beside(registry: Registry, one: Kept, file: str) -> bytes | None:
    """A small file of a model, which need not have been fetched; None where there is none."""
    home = Folder(registry.folder) if one.folder.is_dir() else registry.place()
    return home.beside(one.name, one.digest, file)


def meant(registry: Registry, which: str) -> Kept:
    name, at, digest = which.partition("@")
    place = registry.place()
    there = kept(registry, name)
    if not there:
        known = sorted(place.models())
        hint = nearest(name, known) if known else f"; there is none yet. Try: aether train world-model {name}"
        raise NotFound(f"there is no model {name!r} in {place.shown}{hint}")
    if not at:
        return _by_name(place, name, there)
    matching = [one for one in there if digest and one.digest.startswith(digest)]
    if len(matching) != 1:
        hint = nearest(which, [one.model for one in matching or there])
        raise NotFound(f"there {'are several' if matching else 'is no'} {which!r} in {place.shown}{hint}")
    return matching[0]


def _by_name(place: Place, name: str, there: list[Kept]) -> Kept:
    """The promoted one; where none is, or what a scenario does by itself, the latest."""
    ids = ", ".join(one.model for one in there)
    stands = succession_in(place, name).standing
    if stands is not None and is_of(stands, name):
        promoted = next((one for one in there if one.promoted), None)
        if promoted is None:
            raise NotFound(
                f"{stands} is promoted and is not in {place.shown} any more. Put it back, or go on without it: "
                f"aether model rollback {name}. There are: {ids}"
            )
        return promoted
    if there[0].latest:
        return there[0]
    raise NotFound(f"which {name} is the latest is not said in {place.shown}/{name}/{LATEST}; name one of: {ids}")


@contextmanager
def laying_down(registry: Registry, name: str) -> Iterator[Path]:
    """A path aside that a model can be written to, gone at the end whatever becomes of it. Raises `Unavailable` where
    there is no room or no leave to write, or another process writes models of that name for too long."""
    home = Folder(registry.folder)
    with writing(f"the model cannot be kept in {home.root / name}"), home.locked(name), home.aside(name) as written:
        yield written


def check_writable(registry: Registry, name: str) -> None:
    """Raises what laying down a model of that name would, as far as it can be known before there is one."""
    with laying_down(registry, name):
        registry.place().models(name)


def lay_down(registry: Registry, written: Path, digest: str, *, latest: bool = True) -> Kept:
    """Gives what `laying_down` let be written, each file of it on disk already, its place, and makes it the latest of
    its name unless `latest` is false. The same digest again is left as it stands. Raises `Unavailable` where it cannot
    be sent to the registry's URL; it lies whole in the folder then, and is in no list."""
    name, home, place = written.name, Folder(registry.folder), registry.place()
    home.take(written, name, digest)
    folder = registry.folder / name / digest
    if registry.url is None:
        _point(place, name, digest, latest=latest)
    else:
        _send(place, folder, name, digest, latest=latest)
    stands = standing_in(place, name)
    return Kept(name, digest, folder, latest_in(place, name) == digest, f"{name}@{digest}" == stands)


def _send(place: Place, folder: Path, name: str, digest: str, *, latest: bool) -> None:
    try:
        with writing(f"the model cannot be sent to {place.shown}"), place.locked(name):
            place.put(folder, name, digest)
            _point(place, name, digest, latest=latest)
    except Unavailable as error:
        raise Unavailable(
            f"{error}. The model is whole in {folder}; train it again from the same log with the same seed, and it is "
            "sent as it is"
        ) from error


def _point(place: Place, name: str, digest: str, *, latest: bool) -> None:
    if latest:
        place.say(name, LATEST, f"{digest}\n")


def _fetch(registry: Registry, one: Kept) -> None:
    """Brings a model from the URL to the folder, once its content is what its id says."""
    place = registry.place()
    with laying_down(registry, one.name) as written:
        if one.folder.is_dir():  # by another process, meanwhile
            return
        try:
            place.get(one.name, one.digest, written)
        except FileNotFoundError:
            raise NotFound(f"{one.model} was removed from {place.shown} at this moment") from None
        _check(written, one, place)
        Folder(registry.folder).take(written, one.name, one.digest)


def _check(written: Path, one: Kept, place: Place) -> None:
    from world_model.checkpoint import load  # loads torch, as whoever needs the model does

    try:
        found = load(written).model_id.rpartition("@")[2]
    except CheckpointError as error:
        found, why = None, str(error).replace(str(written), f"{place.shown}/{one.name}/{one.digest}")
    else:
        why = f"what lies at {place.shown}/{one.name}/{one.digest} is a model with the digest {found}"
    if found != one.digest:
        raise VerificationFailed(f"{why}. It was not fetched; models that are in {written.parents[2]} are intact")


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Says of an error of the disk `what` failed."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{what}: {error.strerror or error}. Models that were there are intact. "
            "Make room, or name another place with AETHER_MODELS or AETHER_HOME"
        ) from error
