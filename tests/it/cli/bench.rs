//! `remex bench`: figures come out, whatever they are.

use serde_json::Value;

use super::process::remex;

/// The one line that is printed.
fn figures(arguments: &[&str]) -> Value {
    let end = remex([&["bench"][..], arguments].concat());
    end.assert_done();
    let [line] = &end.stdout[..] else { panic!("one line should be printed: {end:?}") };
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_large_tensor_is_measured() {
    let figures = figures(&["W4", "--size", "1000", "--reps", "1"]);
    assert_eq!((&figures["workload"], &figures["unit"]), (&"W4".into(), &"GB/s".into()));
}

#[test]
fn small_calls_are_measured_beside_a_transfer() {
    let figures = figures(&["W4", "--calls", "--size", "1000000", "--reps", "2", "--n", "50"]);
    assert_eq!((&figures["workload"], &figures["unit"]), (&"W4".into(), &"us_p99".into()), "{figures}");
    assert_eq!((&figures["n_alone"], figures["n"].as_u64().unwrap() >= 50), (&50.into(), true), "{figures}");
    for name in ["p50_us", "p99_us", "p50_us_alone", "p99_us_alone", "GBps", "GBps_alone"] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}: {figures}");
    }
    remex(["bench", "W4", "--calls", "--raw"]).assert_failed(2, "cannot be used with");
}

/// The bench itself checks every element of every member's sum.
#[test]
fn four_processes_sum_a_vector() {
    // Over several chunks, over a part without elements, over sockets of both kinds.
    for (arguments, bytes, system) in [
        (&["W5", "--size", "2100004", "--reps", "3"][..], 2_100_004, "remex"),
        (&["w5", "--size", "4", "--reps", "1"], 4, "remex"),
        (&["W5", "--size", "4096", "--reps", "1", "--uds"], 4096, "remex-uds"),
    ] {
        let figures = figures(arguments);
        assert_eq!((&figures["workload"], &figures["unit"]), (&"W5".into(), &"ms".into()), "{figures}");
        assert_eq!((&figures["bytes"], &figures["ranks"]), (&bytes.into(), &4.into()), "{figures}");
        assert_eq!(figures["system"], system);
        assert!(figures["value"].as_f64().unwrap() > 0.0, "{figures}");
    }
}

/// I8: everything comes and goes, and both processes say what they take.
#[test]
fn a_soak_says_what_both_processes_take() {
    let figures = figures(&["soak", "--duration", "2s"]);
    assert_eq!((&figures["workload"], &figures["unit"]), (&"Soak".into(), &"calls".into()), "{figures}");
    for side in ["client", "worker"] {
        for when in ["start", "middle", "end"] {
            assert!(figures[format!("rss_mb_{side}_{when}")].as_f64().unwrap() > 1.0, "{figures}");
            assert!(figures[format!("descriptors_{side}_{when}")].as_u64().unwrap() > 3, "{figures}");
        }
    }
    assert!(figures["value"].as_u64().unwrap() >= 2400, "three connections, each with 800 calls: {figures}");
}

/// I8: the worker's budget holds whatever the client does.
#[test]
fn a_stuck_worker_takes_no_more_than_it_may() {
    let end = remex(["bench", "stuck", "--duration", "2s", "--memory", "4194304"]);
    end.assert_done();
    let last: Value = serde_json::from_str(end.stdout.last().unwrap()).unwrap();
    assert!(last["admitted"].as_u64().unwrap() <= 64, "64 inputs of 64 KiB are the budget: {last}");
    assert!(last["rss_mb_worker"].as_f64().unwrap() > 1.0 && last["rss_mb_client"].as_f64().unwrap() > 1.0, "{last}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    remex(["bench", "W5", "--size", "7"]).assert_failed(2, "--size is 7; W5 sums f32, so it should be a multiple of 4");
    remex(["bench", "W5", "--raw"]).assert_failed(2, "W5 has no --raw: leave it out, or take W1, W2, W3 or W4");
}
