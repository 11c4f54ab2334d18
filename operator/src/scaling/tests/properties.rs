//! What holds for every spec and every load.

use proptest::prelude::*;

use super::*;

fn any_settings() -> impl Strategy<Value = Settings> {
    (1..20_u32, 0..20_u32, 0.1..100.0, 0..120_u64, 1..600_u64, any::<bool>()).prop_map(
        |(min, more, target, out, back, suspended)| Settings {
            min,
            max: min + more,
            target,
            scale_out: Duration::from_secs(out),
            scale_in: Duration::from_secs(back),
            suspended,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_always_within_its_limits(
        settings in any_settings(),
        before in prop::option::of(0..50_u32),
        (start, running, ready) in (1..50_u32, 0..50_u32, 0..50_u32),
        load in prop::option::of((0.0..1e7, any::<bool>(), prop::option::of(0..=1000_u32))),
    ) {
        let memory = before.map(memory);
        let load = load.map(|(rate, complete, highest)| Load { rate, complete, highest, silent: None });
        let memory = memory.as_ref();
        let moment = Moment { settings: &settings, memory, start, running, ready, load, now: at(0) };
        let after = decide(moment).status.replicas;
        prop_assert!((settings.min..=settings.max).contains(&after), "{after}");
    }

    #[test]
    fn more_requests_never_mean_fewer_pods(
        settings in any_settings(),
        before in 1..50_u32,
        (less, more) in (0.0..2000.0, 0.0..2000.0),
        highest in prop::option::of((0..50_u32, 0..50_u32)),
    ) {
        let memory = memory(before);
        let after = |rate, highest| decide(moment(&settings, &memory, load(rate, highest))).status.replicas;
        let (low, high) = (highest.map(|(low, _)| low), highest.map(|(low, more)| low + more));
        prop_assert!(after(less, low) <= after(less + more, high));
    }

    #[test]
    fn what_is_unknown_never_takes_a_pod_away(
        turns in prop::collection::vec((1..40_u64, 0..20_000_u64, 0..4_usize), 1..120),
    ) {
        let settings = Settings { scale_in: Duration::from_secs(60), ..SETTINGS };
        let mut world = World::new(settings, 2);
        let mut whole = 0;
        for (seconds, requests, fate) in turns {
            // One of four pages of one router is lost.
            let before = world.replicas();
            let scaled = world.turn(seconds, requests, |i| fate == 0 && i == 1);
            let complete = world.load.is_some_and(|load| load.complete);
            if scaled.step == Some(Step::In) {
                prop_assert!(complete && whole + seconds >= 60, "{whole} s are known");
            } else if before > 0 {
                prop_assert!(world.replicas() >= before);
            }
            whole = if complete { whole + seconds } else { 0 };
        }
    }

    #[test]
    fn a_constant_load_comes_to_rest(
        seconds in 1..60_u64,
        requests in 0..3000_u64,
        settings in any_settings(),
    ) {
        let mut world = World::new(Settings { suspended: false, ..settings }, 2);
        let long = 2 * (settings.scale_in.as_secs() + 15) / seconds + 20;
        (0..long).for_each(|_| drop(world.turn(seconds, requests, |_| false)));
        let rest = world.replicas();
        for _ in 0..long {
            prop_assert_eq!(world.turn(seconds, requests, |_| false).step, None);
        }
        let rate = 2.0 * requests as f64 / seconds as f64;
        prop_assert!(rest >= settings.wish(rate).clamp(settings.min, settings.max));
    }
}
