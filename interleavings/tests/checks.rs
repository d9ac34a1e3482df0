//! Runs each check in many interleavings.

use interleavings::run;

#[test]
fn bucket_gives_each_unit_once() {
    run(interleavings::bucket_gives_each_unit_once);
}

#[test]
fn pull_counters_lose_no_pull() {
    run(interleavings::pull_counters_lose_no_pull);
}

#[test]
fn connection_is_idle_after_its_last_request() {
    run(interleavings::connection_is_idle_after_its_last_request);
}

#[test]
fn idle_connections_make_room_for_waiting_ones() {
    run(interleavings::idle_connections_make_room_for_waiting_ones);
}
