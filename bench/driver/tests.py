"""Tests of what is pure: reading the tools' output, medians, the table: `python3 -m unittest driver.tests` in bench/."""

import unittest

from . import load, summary, table


class Reading(unittest.TestCase):
    def test_wrk_adds_socket_errors_and_statuses(self):
        said = load.parse_wrk(
            "  49384 requests in 1.00s, 60.99MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n"
            "  Non-2xx or 3xx responses: 5\nRequests/sec:  49323.95\n")
        self.assertEqual(said, {"requests": 49384, "errors": 15, "rate": 49323.95})

    def test_wrk_without_a_count_is_an_error(self):
        with self.assertRaises(load.LoadFailed):
            load.parse_wrk("unable to connect to 127.0.0.1:1 Connection refused")

    def test_h2load_counts_refusals_as_errors(self):
        said = load.parse_h2load(
            "finished in 1.00s, 34976.00 req/s, 36.07MB/s\n"
            "requests: 34976 total, 35008 started, 34976 done, 34970 succeeded, 6 failed, 0 errored, 0 timeout\n"
            "status codes: 34970 2xx, 0 3xx, 2 4xx, 4 5xx\n"
            "traffic: 36.07MB (37822510) total, 1.05MB (1101018) headers (space savings 90%), 34.15MB (35809280) data\n")
        self.assertEqual(said, {"requests": 34970, "errors": 12, "rate": 34976.0, "content": 35809280})

    def test_a_grpc_call_without_a_message_is_an_error(self):
        said = {"requests": 10, "errors": 1, "rate": 1.0, "content": 8 * 1029}
        self.assertEqual(load.unary(said, 1029)["errors"], 3)

    def test_vegeta_leaves_the_first_tenth_out(self):
        rows = [f"{1000 + i},200,{9_000_000 if i < 10 else i * 1000},0,0,,,a,{i},GET,u," for i in range(100)]
        said = load.parse_vegeta("\n".join(reversed(rows)), 1000)
        self.assertEqual((said["requests"], said["errors"]), (100, 0))
        self.assertEqual((said["p50_us"], said["p99_us"]), (55.0, 99.0))

    def test_iperf3_that_was_refused_is_an_error(self):
        with self.assertRaises(load.LoadFailed):
            load.parse_iperf3('{"end": {}, "error": "unable to connect to server"}')


def sample(subject, number, cpu, p50=100.0):
    return {"subject": subject, "row": "paced", "round": number, "rate": 1000, "errors": 0, "requests": 1000,
            "others_share": 0.25, "cpu_ms_per_unit": cpu, "user_ns": 1, "system_ns": 3, "p50_us": p50, "p99_us": 500.0}


class Summary(unittest.TestCase):
    def report(self):
        samples = []
        for number, (floor, other) in enumerate(((10.0, 20.0), (20.0, 30.0), (40.0, 40.0))):
            samples += [sample("direct", number, None, 80.0), sample("floor", number, floor, 180.0),
                        sample("other", number, other, 280.0)]
        subjects = {name: {"wire": "w", "version": "v", "bytes": 1} for name in ("direct", "floor", "other")}
        return {"machine": {"cpu": "c", "cores": 2, "memory_gib": 1, "kernel": "6"},
                "settings": {"rounds": 3, "seconds": 1}, "versions": {}, "subjects": subjects,
                "skipped": {"weft": "not built"}, "rest": {}, "after_load": {}, "samples": samples}

    def test_ratios_are_of_the_same_round(self):
        figures = summary.summarise(self.report())["rows"]["other"]["paced"]
        self.assertEqual(figures["ratio"], {"median": 1.5, "min": 1.0, "max": 2.0})
        self.assertEqual(figures["cpu_ms"]["median"], 30.0)
        self.assertEqual(figures["added_p50_us"]["median"], 200.0)
        self.assertEqual(figures["kernel_share"]["median"], 0.75)

    def test_the_table_says_what_was_skipped_and_the_ratio(self):
        text = table.markdown(summary.summarise(self.report()))
        self.assertIn("Others used 25% of the proxies' core (median of all loads; 25% at most): **too much", text)
        self.assertIn("weft: **skipped**, not built", text)
        self.assertIn("30.0 (20.0–40.0) (**1.50** × floor)", text)
        self.assertIn("| p50 | 80 (80–80) | 100 (100–100) | 200 (200–200) |", text)


if __name__ == "__main__":
    unittest.main()
