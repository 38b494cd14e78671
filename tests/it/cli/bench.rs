//! `remex bench`: figures come out, whatever they are.

use serde_json::Value;

use super::process::{Folder, remex};

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

#[test]
fn growth_is_told_and_drawn() {
    let folder = Folder::new("growth");
    let svg = folder.join("growth.svg");
    let small = ["growth", "--n", "64", "--reps", "1", "--objects", "10", "--only"];
    for dimension in ["objects", "receivers", "devices"] {
        let arguments = [&["bench"][..], &small, &[dimension, "--json"]].concat();
        let end = remex(arguments);
        end.assert_done();
        for line in &end.stdout {
            let figures: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&figures["dimension"], &figures["unit"]), (&dimension.into(), &"us_cpu".into()), "{line}");
            assert!(figures["count"].as_u64().unwrap() >= 1, "{line}");
        }
        assert!(end.stdout.len() > 1, "{end:?}");
    }
    let end = remex([&["bench"][..], &small, &["objects", "--svg", svg.to_str().unwrap()]].concat());
    end.assert_done();
    assert!(end.stdout[0].contains("what there is more of") && end.stdout[2].contains("objects alive"), "{end:?}");
    let drawn = std::fs::read_to_string(svg).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.contains(">objects alive<"), "{drawn}");
    remex(["bench", "growth", "--raw"]).assert_failed(2, "leave --raw and --uds out");
}

#[test]
fn memory_of_objects_and_calls_is_told() {
    let figures = figures(&["memory", "--objects", "500", "--n", "500"]);
    assert_eq!(figures["unit"], "bytes_per_object", "{figures}");
    for name in ["bytes_per_put_object", "bytes_per_call_client", "bytes_per_call_worker"] {
        assert!(figures[name].as_f64().is_some(), "{name}: {figures}");
    }
}

#[test]
fn client_and_worker_are_one_process_where_instructions_are_counted() {
    let figures = figures(&["pair", "--n", "100", "--window", "16"]);
    assert_eq!((&figures["value"], &figures["unit"]), (&100.into(), &"calls".into()), "{figures}");
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
