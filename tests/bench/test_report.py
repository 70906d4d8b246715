import json

from scripts._bench import report
from scripts._bench.report import Result, Sample, Target
from scripts._bench.scenarios import bound, ratio


def result(**series: list[float]) -> Result:
    samples = {name: [Sample(value, sent_bytes=2_000_000, requests=3) for value in v] for name, v in series.items()}
    targets = [
        ratio("at most half of theirs", "ours", "theirs", 0.5),
        bound("at least 9", "theirs", 9, at_least=True),
        ratio("at most a third of somebody's", "ours", "somebody", 0.3),
    ]
    return Result("race", "a race", "s", False, "theirs", samples, {}, report.judged(targets, samples))


def test_targets_are_judged_by_medians() -> None:
    met, at_least, _ = result(ours=[4, 5, 100], theirs=[9, 10, 11]).verdicts
    assert (met.figure, met.met) == (0.5, True)
    assert (at_least.figure, at_least.met) == (10, True)


def test_a_missed_target_is_printed_as_a_miss() -> None:
    table = report.verdict_table([result(ours=[6.0], theirs=[10.0])])
    assert "| a race | at most half of theirs | 0.60 | **MISSED** |" in table


def test_a_target_without_its_peer_is_not_measured() -> None:
    assert result(ours=[5], theirs=[10]).verdicts[2].met is None
    assert "| not measured |" in report.verdict_table([result(ours=[5], theirs=[10])])


def test_a_series_shows_its_median_spread_and_ratio() -> None:
    row = report.figures(result(ours=[3, 4, 8], theirs=[8, 16, 32])).splitlines()[2]
    assert row == "| ours | 4 | 3 … 8 | 0.25 | 2.0 | 3 |  |  |"


def test_a_failed_series_says_why() -> None:
    found = Result("race", "a race", "s", False, "", {"ours": []}, {"ours": "curl | tar ended"}, [])
    assert "| ours | failed | curl &#124; tar ended |" in report.figures(found)


def test_the_overview_has_a_line_for_each_scenario() -> None:
    table = report.overview([result(ours=[3, 4, 8], theirs=[150.4])])
    assert table.splitlines()[2] == "| a race | s | **ours 4**, theirs 150 | `scripts/bench --only race` |"


def test_json_has_every_run_and_every_verdict() -> None:
    (scenario,) = json.loads(report.as_json([result(ours=[5, 6], theirs=[9])], {"machine": {"cores": 2}}))["scenarios"]
    assert [sample["value"] for sample in scenario["series"]["ours"]] == [5, 6]
    assert scenario["medians"] == {"ours": 5.5, "theirs": 9}
    assert [verdict["met"] for verdict in scenario["verdicts"]] == [False, True, None]


def test_a_page_has_one_section_of_figures_however_often_it_is_written() -> None:
    page = report.with_section("# Title\n\nText.\n", report.section([result(ours=[5], theirs=[10])], "first"))
    assert page.startswith("# Title\n\nText.\n\n<!--")
    twice = report.with_section(f"{page}\n## More\n", report.section([result(ours=[5], theirs=[10])], "second"))
    assert twice.count("## Figures") == 1
    assert "second" in twice
    assert "first" not in twice
    assert twice.endswith("\n\n## More\n")


def test_a_target_may_be_of_more_than_two_series() -> None:
    series = {"ours": [Sample(11)], "link": [Sample(4)], "local": [Sample(6)]}
    sums = Target("at most the sum", lambda medians: medians["ours"] / (medians["link"] + medians["local"]), 1.0)
    (verdict,) = report.judged([sums], series)
    assert (verdict.figure, verdict.met) == (1.1, False)


def test_what_was_written_is_read_back() -> None:
    results = [result(ours=[5, 6], theirs=[9])]
    assert report.from_json(report.as_json(results, {"machine": {"cores": 2}})) == results
