"""The schedule library: names, files, and what it refuses."""

import dataclasses
import io
import os
import types

import numpy as np
import pytest

from art_nodes.core import ScheduleFileError
from tests.host import schedules

pytestmark = pytest.mark.host


@pytest.fixture
def trained(tmp_path):
    return tmp_path / "trained"


def test_the_host_knows_the_folder(comfy):
    import folder_paths

    from art_nodes.host import library

    library.register_folder()
    folders, suffixes = folder_paths.folder_names_and_paths["art_schedules"]
    assert folders == [os.path.join(folder_paths.models_dir, "art_schedules")]
    assert ".safetensors" in suffixes


def test_an_empty_library_and_its_error(library):
    assert library.schedule_names() == []
    with pytest.raises(ValueError, match="got 'x'; there are: none yet; .* ART Train"):
        library.load_schedule("x")


def test_bundled_come_first_and_same_names_are_told_apart(library, trained, tmp_path):
    for name, rate in [("beta", 1.0), ("alpha", 2.0)]:
        schedules.schedule(rate=rate).save(tmp_path / "bundled" / f"{name}.safetensors")
    (trained / "sub").mkdir(parents=True)
    for name, rate in [("aaa", 3.0), ("beta", 4.0), ("sub/deep", 5.0)]:
        schedules.schedule(rate=rate, n=name).save(trained / f"{name}.safetensors")
    (trained / "notes.txt").write_text("no schedule")
    assert library.schedule_names() == ["alpha", "beta", "aaa", "trained/beta", "sub/deep"]
    assert library.load_schedule("beta").provenance == {}
    assert library.load_schedule("trained/beta").provenance == {"n": "beta"}
    assert library.load_schedule("sub/deep").provenance == {"n": "sub/deep"}


def test_an_alias_never_hides_a_file(library, trained, tmp_path):
    """A sub-folder may itself be called "trained"."""
    schedules.schedule().save(tmp_path / "bundled" / "a.safetensors")
    (trained / "trained").mkdir(parents=True)
    schedules.schedule(n=1).save(trained / "a.safetensors")
    schedules.schedule(n=2).save(trained / "trained" / "a.safetensors")
    assert library.schedule_names() == ["a", "trained/a", "trained/trained/a"]
    assert [library.load_schedule(name).provenance.get("n") for name in library.schedule_names()] == [None, 1, 2]


def test_the_list_is_read_afresh(library, trained):
    library.save_schedule(schedules.schedule(), "one")
    assert library.schedule_names() == ["one"]
    library.save_schedule(schedules.schedule(rate=2.0), "two")
    assert library.schedule_names() == ["one", "two"]
    (trained / "one.safetensors").unlink()
    assert library.schedule_names() == ["two"]


def test_saving_overwrites_nothing(library, trained):
    first, second = schedules.schedule(), schedules.schedule(rate=2.0)
    assert library.save_schedule(first, "s") == "s"
    assert library.save_schedule(second, "s") == "s_2"
    assert library.save_schedule(first, "s") == "s"
    assert library.save_schedule(second, "s") == "s_2"
    assert library.save_schedule(schedules.schedule(other=(1, 2)), "s") == "s_3"  # same clock, other provenance
    assert library.save_schedule(schedules.schedule(other=(1, 2)), "s") == "s_3"
    counted = schedules.schedule(calls=np.int64(4), seen=np.ones(2))  # numpy's numbers, read back as plain ones
    assert [library.save_schedule(counted, "s") for _ in range(2)] == ["s_4", "s_4"]
    (trained / "s.safetensors").write_bytes(b"damaged")
    assert library.save_schedule(first, "s") == "s_5"
    assert (trained / "s.safetensors").read_bytes() == b"damaged"
    assert {path.name for path in trained.iterdir()} == {f"s{n}.safetensors" for n in ("", "_2", "_3", "_4", "_5")}


def test_other_grids_are_another_schedule(library):
    """The same clock and provenance with grids of another fit must not count as saved already."""
    plain = schedules.schedule()
    some, others = (dataclasses.replace(plain, grids={2: [80.0, middle, 0.0]}) for middle in (5.0, 6.0))
    assert [library.save_schedule(one, "s") for one in (plain, some, others, some)] == ["s", "s_2", "s_3", "s_2"]
    assert library.load_schedule("s_3").sigmas(2)[1] == 6.0


def test_a_link_to_nowhere_is_no_schedule(library, trained):
    """A drive that is not mounted must not take the rest of the library with it."""
    library.save_schedule(schedules.schedule(), "s")
    (trained / "gone.safetensors").symlink_to(trained / "nowhere" / "gone.safetensors")
    assert library.schedule_names() == ["s"] and library.load_schedule("s").sigma_max == 80.0
    with pytest.raises(ValueError, match="got 'gone'; there are: s"):
        library.load_schedule("gone")


def test_bundled_names_are_never_taken(library, trained, tmp_path):
    schedules.schedule().save(tmp_path / "bundled" / "demo.safetensors")
    before = (tmp_path / "bundled" / "demo.safetensors").read_bytes()
    assert library.save_schedule(schedules.schedule(rate=2.0), "Demo") == "Demo_2"
    assert library.save_schedule(schedules.schedule(), "demo") == "demo_2"
    schedules.schedule(rate=3.0).save(trained / "demo.safetensors")  # of before a bundled one had that name
    assert library.save_schedule(schedules.schedule(rate=3.0), "demo") == "demo_3", "demo would be the bundled one"
    assert (tmp_path / "bundled" / "demo.safetensors").read_bytes() == before
    assert [path.name for path in (tmp_path / "bundled").iterdir()] == ["demo.safetensors"]


@pytest.mark.parametrize("name", schedules.BAD_NAMES)
def test_bad_names_are_refused(library, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="name must") as caught:
        library.save_schedule(schedules.schedule(), name)
    assert len(str(caught.value)) < 400
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match="there are: none yet"):
        library.load_schedule(name)


@pytest.mark.parametrize("name", ["my_schedule", "A-1.5_x", "console", "7", "com", "x" * 100])
def test_good_names(library, name):
    assert library.save_schedule(schedules.schedule(), name) == name
    assert library.schedule_names() == [name]


@pytest.mark.parametrize("name", ["COM1", "com9.x", "lpt4", "x.SafeTensors", "x" * 101])
def test_names_that_some_systems_cannot_have_are_refused(library, name):
    with pytest.raises(ValueError, match="name must"):
        library.check_name(name)


def test_a_family_comes_before_its_others(library, tmp_path):
    for name in ("sdxl-clock", "sdxl", "sdxl-refiner"):
        schedules.schedule().save(tmp_path / "bundled" / f"{name}.safetensors")
    assert library.schedule_names() == ["sdxl", "sdxl-clock", "sdxl-refiner"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_name_that_a_link_has_is_taken(library, trained, tmp_path, is_there):
    """Links to shared files are usual, and what was learned must not be lost over one."""
    outside = tmp_path / "outside.safetensors"
    if is_there:
        schedules.schedule(rate=2.0).save(outside)
    before = outside.read_bytes() if is_there else None
    trained.mkdir()
    (trained / "x.safetensors").symlink_to(outside)
    assert library.save_schedule(schedules.schedule(), "x") == "x_2"
    assert (outside.read_bytes() if outside.exists() else None) == before
    assert (trained / "x.safetensors").is_symlink() and not (trained / "x_2.safetensors").is_symlink()


def test_a_folder_that_is_only_read_is_passed_over(library, trained, tmp_path, monkeypatch):
    """Users may have shared folders of schedules before the host's own."""
    shared, check = tmp_path / "shared", library.check_writable

    def refuse(folder):
        if folder == shared:
            raise ValueError("the folder shared must be one that ComfyUI can write to")
        check(folder)

    import folder_paths

    monkeypatch.setattr(library, "check_writable", refuse)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "art_schedules",
                        ([str(shared), str(trained)], {".safetensors"}))
    assert library.save_schedule(schedules.schedule(), "mine") == "mine"
    assert (trained / "mine.safetensors").is_file() and not shared.exists()
    assert library.saved_line("mine", "mine") == f'schedule "mine" saved in {trained}'
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    assert library.saved_line("mine", "other") == 'schedule "mine" saved in models/trained ("other" was taken)'
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "art_schedules", ([str(shared)], {".safetensors"}))
    with pytest.raises(ValueError, match="the folder shared must be one"):
        library.save_schedule(schedules.schedule(), "mine")


def test_what_a_folder_that_is_only_read_holds_already_is_said_to_be_there(library, trained, tmp_path, monkeypatch):
    import folder_paths

    schedules.schedule().save(make(tmp_path / "shared") / "mine.safetensors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "art_schedules",
                        ([str(trained), str(tmp_path / "shared")], {".safetensors"}))
    assert library.save_schedule(schedules.schedule(), "mine") == "mine"
    assert library.saved_line("mine", "mine") == f'schedule "mine" saved in {tmp_path / "shared"}'


def test_of_folders_that_refuse_files_the_first_is_told(library, tmp_path, monkeypatch):
    import folder_paths

    for name in ("first", "second"):
        (tmp_path / name).touch()  # a file, where a folder should be
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "art_schedules",
                        ([str(tmp_path / "first"), str(tmp_path / "second")], {".safetensors"}))
    with pytest.raises(ValueError, match="first must be one that ComfyUI can write to"):
        library.folder_to_save_in()


def test_a_folder_that_refuses_files_is_refused_at_once(library, tmp_path, monkeypatch):
    """On Windows os.access calls a folder writable whose access list forbids it, and tempfile then tries for ever."""
    refused = []

    def forbidden(path, mode):
        refused.append(path)
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    with pytest.raises(ValueError, match="must be one that ComfyUI can write to; got Access is denied"):
        library.folder_to_save_in()
    assert len(refused) == 1


def test_a_full_disk_is_told_before_the_work(library, trained, monkeypatch):
    """It takes an empty file all the same, and the part of one that fitted is not left behind."""
    class Full(io.BytesIO):
        def write(self, data):
            if len(data) >= 2**20:  # as much as any schedule takes
                raise OSError(28, "No space left on device")

    def full(path, mode):
        path.touch()
        return Full()

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(ValueError, match="must be one that ComfyUI can write to; got No space left on device; .*free"):
        library.folder_to_save_in()
    assert list(trained.iterdir()) == []


def test_room_for_a_large_file_is_asked_of_the_disk(library, trained, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: types.SimpleNamespace(free=2**30))
    library.check_writable(trained, 2**30)
    with pytest.raises(ValueError, match="can write to; got less than 2048 MiB left on its disk; .*free some space"):
        library.check_writable(trained, 2**31)


def test_a_folder_whose_new_files_are_held_is_written_to(library, trained, monkeypatch):
    """As virus scanners do on Windows: that the file which was tried cannot be deleted is no refusal."""
    def unlink(*_, **__):
        raise PermissionError(13, "used by another process")

    monkeypatch.setattr("pathlib.Path.unlink", unlink)
    assert library.folder_to_save_in() == trained
    assert library.save_schedule(schedules.schedule(), "a") == "a" and library.schedule_names() == ["a"]


def test_links_that_loop_are_followed_once(library, trained):
    """Two of them alone would list more paths than anyone could wait for."""
    schedules.schedule().save(make(trained / "sub") / "a.safetensors")
    for name in ("x", "y"):
        (trained / name).symlink_to(trained)
    (trained / "sub" / "up").symlink_to(trained)
    (trained / "other").symlink_to(trained / "sub")
    assert library.schedule_names() == ["other/a", "sub/a"]
    (trained / "other").unlink()
    (trained / "sub" / "self").symlink_to(trained / "sub")
    assert library.schedule_names() == ["sub/a"]


def test_hidden_files_are_not_listed(library, trained):
    """macOS writes ._a.safetensors beside a.safetensors on drives of other systems."""
    schedules.schedule().save(make(trained) / "a.safetensors")
    (trained / "._a.safetensors").write_bytes(b"\0" * 100)
    assert library.schedule_names() == ["a"]


def test_a_saved_name_is_one_that_is_listed(library, trained, monkeypatch):
    """Where a.safetensors answers to A as well, the same schedule saved as A is not taken to be there."""
    import folder_paths

    library.save_schedule(schedules.schedule(), "a")
    find = folder_paths.get_full_path
    monkeypatch.setattr(folder_paths, "get_full_path", lambda folder, name: find(folder, name) or (
        str(trained / name) if (trained / name.lower()).is_file() else None))
    load = library.Schedule.load
    monkeypatch.setattr(library.Schedule, "load", lambda path: load(str(path).replace("A.", "a.")))
    saved = library.save_schedule(schedules.schedule(), "A")
    assert saved == "A_2" and saved in library.schedule_names()


def test_what_was_saved_here_and_is_gone_is_counted(library, trained):
    """A node that saved it runs again then, and not when the file comes back."""
    from art_nodes.nodes.save_schedule import ARTSaveSchedule
    from art_nodes.nodes.train import ARTTrain

    def told():
        found = {node.fingerprint_inputs(name="once", orbits=4) for node in (ARTTrain, ARTSaveSchedule)}
        assert found == {library.times_lost("once")}
        return library.times_lost("once")

    first = told()
    assert library.save_schedule(schedules.schedule(), "once") == "once"
    assert library.save_schedule(schedules.schedule(rate=2.0), "once") == "once_2" and told() == first
    (trained / "once.safetensors").unlink()  # an older one, which nobody says is there
    assert told() == first
    kept = (trained / "once_2.safetensors").read_bytes()
    (trained / "once_2.safetensors").unlink()
    assert told() == told() == first + 1
    (trained / "once_2.safetensors").write_bytes(kept)
    assert told() == first + 1
    # A file that is kept since it holds just this schedule counts as saved, by another process too.
    assert library.save_schedule(schedules.schedule(), "once") == "once"
    library._saved.clear()
    assert library.save_schedule(schedules.schedule(), "once") == "once"
    (trained / "once.safetensors").unlink()
    assert told() == first + 2 and ARTTrain.fingerprint_inputs(orbits=4) == 0


def test_names_that_are_no_text_are_not_listed(library, trained):
    """Old archives have such names; nothing can send or show them, and the host's log would fail on them."""
    schedules.schedule().save(make(trained) / "good.safetensors")
    os.rename(trained / "good.safetensors", os.fsencode(trained) + b"/caf\xe9.safetensors")
    schedules.schedule().save(trained / "good.safetensors")
    assert library.schedule_names() == ["good"]
    with pytest.raises(ValueError, match=r"got 'caf\\udce9'; there are: good;"):
        library.schedule_path(os.fsdecode(b"caf\xe9"))


def test_messages_can_be_written_in_any_character_set(library, trained, monkeypatch):
    """The host's log raises for what it cannot write, in the thread that runs workflows: that would be its end."""
    from art_nodes.host.comparing_grids import parse_steps

    schedules.schedule().save(make(trained) / "写真.safetensors")
    (trained / "壊.safetensors").write_bytes(b"x" * 100)
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))  # where the host's log goes
    for ask in (lambda: library.load_schedule("é 写"), lambda: library.load_schedule("壊"),
                lambda: library.check_name("写"), lambda: parse_steps("写")):
        with pytest.raises(ValueError, match=r"\\u") as caught:
            ask()
        str(caught.value).encode("cp1252")


def test_long_lists_of_names_are_cut_short(library, trained):
    make(trained)
    for i in range(42):
        (trained / f"s{i:02d}.safetensors").touch()
    with pytest.raises(ValueError, match="there are: s00, .* s39 and 2 more; choose"):
        library.load_schedule("x")


def test_a_checkpoint_among_them_is_not_read_to_tell_whether_it_changed(library, trained, monkeypatch):
    schedules.schedule().save(make(trained) / "a.safetensors")
    small = library.schedule_hash("a")
    with open(trained / "big.safetensors", "wb") as file:
        file.truncate(library.LARGEST_HASHED + 1)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: pytest.fail("read"))
    before = library.schedule_hash("big")
    os.utime(trained / "big.safetensors", (0, 1))
    assert before != library.schedule_hash("big") and len(small) == 64


def test_any_change_of_the_library_changes_its_stamp(library, trained):
    """A schedule's name may come over a wire, and then the host does not tell which it is."""
    from art_nodes.host.sigmas import fingerprint

    path, seen = make(trained) / "a.safetensors", [fingerprint(None)]

    def at(path, seconds):
        os.utime(path, (0, seconds))
        seen.append(fingerprint(None))

    path.write_bytes(b"x")
    at(path, 1)
    at(path, 2)  # another time
    at(path.rename(trained / "b.safetensors"), 2)  # another name
    (trained / "b.safetensors").write_bytes(b"xx")
    at(trained / "b.safetensors", 2)  # another size
    assert len(set(seen)) == len(seen) == 5 and fingerprint(None) == seen[-1]


@pytest.mark.parametrize("name", [{"a": 1}, ["sdxl"], 7, True])
def test_what_is_no_name_is_refused_as_one(library, name):
    from art_nodes.host.sigmas import fingerprint, read_sigmas

    assert fingerprint(name) == f"no schedule {name}"
    with pytest.raises(ValueError, match="schedule_name must be a schedule that exists"):
        read_sigmas(name, 6, 1.0)


def make(folder):
    """The folder, made."""
    folder.mkdir(parents=True)
    return folder


def test_a_damaged_file_is_named(library, trained):
    trained.mkdir()
    (trained / "broken.safetensors").write_bytes(b"\x10" + b"\0" * 40)
    assert library.schedule_names() == ["broken"]
    with pytest.raises(ScheduleFileError, match="broken.safetensors"):
        library.load_schedule("broken")


def test_other_suffixes_are_never_read(library, trained):
    """The host could be told to list pickles in this folder as well."""
    import folder_paths

    folder_paths.folder_names_and_paths[library.FOLDER][1].add(".pt")
    trained.mkdir()
    (trained / "evil.pt").write_bytes(b"")
    (trained / "evil.safetensors.pt").write_bytes(b"")
    assert library.schedule_names() == []
    for name in ("evil", "evil.pt", "evil.safetensors"):
        with pytest.raises(ValueError, match="schedule_name must"):
            library.load_schedule(name)


def test_the_hash_follows_the_content(library, trained):
    library.save_schedule(schedules.schedule(), "a")
    library.save_schedule(schedules.schedule(rate=2.0), "b")
    first = library.schedule_hash("a")
    assert first != library.schedule_hash("b") and len(first) == 64
    (trained / "a.safetensors").unlink()
    library.save_schedule(schedules.schedule(rate=2.0), "a")
    assert library.schedule_hash("a") == library.schedule_hash("b")
