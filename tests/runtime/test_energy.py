"""Energy from sensors that are files of a test, and from a library that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamsa_runtime.energy import NotMeteredError, ina3221, nvml_source, rapl, source_or_reason


def zone(system: Path, folder: str, name: str, microjoules: int) -> Path:
    path = system / "class/powercap" / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text("262143328850\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path / "energy_uj"


def monitor(system: Path, label: str = "VDD_IN") -> Path:
    path = system / "class/hwmon/hwmon3"
    path.mkdir(parents=True)
    (path / "name").write_text("ina3221\n")
    for number, rail, millivolts, milliamperes in ((1, label, 5000, 1200), (2, "VDD_CPU_GPU_CV", 5000, 300)):
        (path / f"in{number}_label").write_text(f"{rail}\n")
        (path / f"in{number}_input").write_text(f"{millivolts}\n")
        (path / f"curr{number}_input").write_text(f"{milliamperes}\n")
    return path


def test_rapl_adds_up_the_packages_and_nothing_that_is_part_of_them(tmp_path: Path) -> None:
    counters = [zone(tmp_path, f"intel-rapl:{k}", f"package-{k}", 1_000_000) for k in range(2)]
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    zone(tmp_path, "intel-rapl:2", "psys", 0)
    source = rapl(tmp_path)
    finish = source.meter()
    counters[0].write_text("3500000")
    counters[1].write_text("2000000")
    core.write_text("9000000")
    assert finish(1.0) == pytest.approx(3.5)
    assert source.name == "RAPL, package-0, package-1"


def test_rapl_starts_again_at_zero(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 262143328850 - 1_000_000)
    finish = rapl(tmp_path).meter()
    counter.write_text("2000000")
    assert finish(1.0) == pytest.approx(3.0)


def test_ina3221_is_the_power_of_the_whole_module_at_the_end_of_a_turn(tmp_path: Path) -> None:
    folder = monitor(tmp_path)
    source = ina3221(tmp_path)
    finish = source.meter()
    (folder / "curr1_input").write_text("2000\n")
    assert finish(1.5) == pytest.approx(5.0 * 2.0 * 1.5)
    assert source.name == "INA3221, VDD_IN"


def test_an_ina3221_that_knows_only_parts_is_not_taken(tmp_path: Path) -> None:
    monitor(tmp_path, label="VDD_SOC")
    with pytest.raises(NotMeteredError, match="no rail called VDD_IN"):
        ina3221(tmp_path)


class FakeNvml:
    """pynvml, as far as it is called."""

    class NVMLError(Exception):
        pass

    def __init__(self, driver: bool = True) -> None:
        self.driver, self.millijoules = driver, 5000

    def nvmlInit(self) -> None:  # NVML's name
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: int) -> int:
        return self.millijoules


def test_nvml_counts_millijoules() -> None:
    library = FakeNvml()
    finish = nvml_source(library).meter()
    library.millijoules += 2500
    assert finish(1.0) == pytest.approx(2.5)


def test_nvml_without_a_driver_says_so() -> None:
    with pytest.raises(NotMeteredError, match="NVML: Driver Not Loaded"):
        nvml_source(FakeNvml(driver=False))


def test_a_machine_without_sensors_gives_every_reason(tmp_path: Path) -> None:
    source, reason = source_or_reason({"CPU"}, tmp_path)
    assert source is None
    assert reason == "left out: no RAPL package in /sys/class/powercap; no INA3221 in /sys/class/hwmon"


def test_a_counter_that_only_root_may_read_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    read = Path.read_text

    def refused(path: Path) -> str:
        if path == counter:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(NotMeteredError, match="may only be read by root"):
        rapl(tmp_path)


def test_the_first_source_that_answers_is_taken(tmp_path: Path) -> None:
    monitor(tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    source, name = source_or_reason({"CPU"}, tmp_path)
    assert source is not None
    assert name == source.name == "RAPL, package-0"


def test_a_counter_of_the_cpu_is_not_taken_for_a_gpu(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    source, reason = source_or_reason({"CPU", "GPU"}, tmp_path)
    assert source is None
    assert reason == "left out: no INA3221 in /sys/class/hwmon"
    monitor(tmp_path)
    assert source_or_reason({"CPU", "GPU"}, tmp_path)[1] == "INA3221, VDD_IN"


def test_a_sensor_slower_than_a_turn_is_not_taken(tmp_path: Path) -> None:
    folder = monitor(tmp_path)
    (folder / "update_interval").write_text("100\n")
    assert ina3221(tmp_path).name == "INA3221, VDD_IN"
    (folder / "update_interval").write_text("2000\n")
    with pytest.raises(NotMeteredError, match="2000 ms for one value"):
        ina3221(tmp_path)
