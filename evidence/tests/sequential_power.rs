//! How often the sequential tests cry wolf, and how long they take to see one: simulations with fixed seeds.
//! Each prints its figures (`--nocapture`). Limits on rates are those that the binomial law exceeds once in a thousand
//! times at most.

use evidence::{
    ALERT_LEVEL, Detector, Leaves, Mismatch, Pairs, Process, Promotion, Stratum, Tests, Tree, clopper_pearson,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Largest number of `runs` that an event of probability `level` hits but once in a thousand times.
fn most(runs: u64, level: f64) -> u64 {
    (0..runs).find(|&hits| clopper_pearson(hits + 1, runs, 0.002).0 > level).unwrap_or(runs)
}

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values[values.len() / 2] as f64
}

/// How many of `n` happen, each with probability `p`: by the gaps between those that do, which are geometric.
fn hits(random: &mut StdRng, n: u64, p: f64) -> u64 {
    if p == 0.5 {
        // Bits are quicker.
        let bits = (0..n / 64).map(|_| random.random::<u64>().count_ones()).sum::<u32>();
        return u64::from(bits + (random.random::<u64>() & ((1 << (n % 64)) - 1)).count_ones());
    }
    if p > 0.5 {
        return n - hits(random, n, 1.0 - p);
    }
    let (mut at, mut hits) = (0, 0);
    loop {
        let gap = (1.0 - random.random::<f64>()).ln() / (-p).ln_1p();
        if gap >= (n - at) as f64 {
            return hits;
        }
        (at, hits) = (at + gap as u64 + 1, hits + 1);
    }
}

/// Requests of both arms, each drawn at random.
fn draw(random: &mut StdRng, requests: u64, split: f64, rates: (f64, f64)) -> Stratum {
    let n = hits(random, requests, split);
    let n_stable = requests - n;
    let (x, x_stable) = (hits(random, n, rates.0), hits(random, n_stable, rates.1));
    Stratum { x, n, x_stable, n_stable, split: Some(split) }
}

/// Wald's bound for requests of both arms: ln(1/level) / KL per event, over the rate of events.
fn wald(tolerance: f64, base: f64, ratio: f64, split: f64, level: f64) -> f64 {
    let share = |ratio: f64| split * ratio / (split * ratio + 1.0 - split);
    let (q, null) = (share(ratio), share(tolerance));
    let divergence = q * (q / null).ln() + (1.0 - q) * ((1.0 - q) / (1.0 - null)).ln();
    -level.ln() / divergence / (base * (split * ratio + 1.0 - split))
}

/// Whether a two-sample z-test at this level sees the candidate as worse.
fn z_test(s: &Stratum, critical: f64) -> bool {
    let (n, m) = (s.n as f64, s.n_stable as f64);
    let pooled = (s.x + s.x_stable) as f64 / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    deviation > 0.0 && (s.x as f64 / n - s.x_stable as f64 / m) / deviation > critical
}

#[test]
fn a_candidate_at_the_tolerance_is_seldom_found_harmful_however_often_one_looks() {
    // rule: S2. Shares ramp, the base rate swings by 80 %, a look after each of 80 intervals of 100 requests.
    const RUNS: u64 = 600;
    const LEVEL: f64 = 0.05;
    let (mut known, mut conditional, mut peeked) = (0, 0, 0);
    for seed in 0..RUNS {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut by_split, mut by_counts) = (Process::new(1.1).unwrap(), Process::new(1.1).unwrap());
        let mut total = Stratum { x: 0, n: 0, x_stable: 0, n_stable: 0, split: None };
        let mut peek = false;
        for step in 0..80 {
            let split = [0.05, 0.1, 0.25, 0.5][step / 20];
            let base = 0.05 * (1.0 + 0.8 * (step as f64 / 6.0).sin());
            let stratum = draw(&mut random, 100, split, (1.1 * base, base));
            by_split.observe(&stratum).unwrap();
            by_counts.observe(&Stratum { split: None, ..stratum }).unwrap();
            // The control: what peeking at a z-test does, with the base rate held still and no tolerance used up.
            let still = draw(&mut random, 100, 0.5, (0.05, 0.05));
            total.x += still.x;
            total.n += still.n;
            total.x_stable += still.x_stable;
            total.n_stable += still.n_stable;
            peek |= z_test(&total, 1.645);
        }
        known += u64::from(by_split.crossed(LEVEL));
        conditional += u64::from(by_counts.crossed(LEVEL));
        peeked += u64::from(peek);
    }
    println!(
        "of {RUNS} at the tolerance, level {LEVEL}: {known} by split, {conditional} by counts; peeked z {peeked}"
    );
    assert!(known <= most(RUNS, LEVEL) && conditional <= most(RUNS, LEVEL), "{known} {conditional}");
    // The simulation would notice: a test of the same level that was not made for looking fails it.
    assert!(peeked > 2 * most(RUNS, LEVEL), "{peeked}");
}

/// Requests of both arms until it crosses, in intervals of a fiftieth of Wald's bound.
fn delay(random: &mut StdRng, tolerance: f64, ratio: f64, split: f64, level: f64, conditional: bool) -> u64 {
    let base = 0.02;
    let step = (wald(tolerance, base, ratio, split, level) / 50.0).ceil() as u64;
    let (mut process, mut requests) = (Process::new(tolerance).expect("in range"), 0);
    while !process.crossed(level) {
        let stratum = draw(random, step, split, (ratio * base, base));
        process
            .observe(&Stratum { split: stratum.split.filter(|_| !conditional), ..stratum })
            .expect("in range");
        requests += step;
    }
    requests
}

#[test]
fn harm_is_found_near_walds_bound() {
    // rule: S2. At the level that errors get of the default budget.
    let level = Tests::default().levels(0.01)[0];
    for tolerance in [1.1, 1.25, 1.5] {
        for ratio in [1.5, 2.0, 3.0, 5.0] {
            // A ratio close to the tolerance takes too long for this test, and anybody.
            if ratio / tolerance < 1.3 {
                continue;
            }
            for (split, conditional) in [(0.5, false), (0.1, false), (0.5, true)] {
                let mut random = StdRng::seed_from_u64(7);
                // Enough for a median to within a few percent; the form by counts is slow in a debug build.
                let runs = if conditional { 51 } else { 301 };
                let delays =
                    (0..runs).map(|_| delay(&mut random, tolerance, ratio, split, level, conditional));
                let (median, wald) = (median(delays.collect()), wald(tolerance, 0.02, ratio, split, level));
                let part = median / wald;
                let form = if conditional { "by counts" } else { "by split" };
                println!(
                    "x{ratio} over {tolerance}, split {split}, {form}: {median} requests, {part:.2} of Wald"
                );
                assert!(part < 1.3, "x{ratio} over {tolerance} at {split} {form}: {part}");
            }
        }
    }
}

/// Labelled pairs until it crosses at 1 %, in fives: candidate alone wrong in 7 %, stable alone in 2 %.
fn pairs_until(random: &mut StdRng, tolerance: f64) -> u64 {
    let (mut process, mut n) = (Process::new(tolerance).expect("in range"), 0);
    while !process.crossed(0.01) {
        let worse = hits(random, 5, 0.07);
        let better = hits(random, 5 - worse, 0.02 / 0.93);
        process.observe_pairs(&Pairs { worse, better, neither: 0, n: 5 }).expect("at most five");
        n += 5;
    }
    n
}

#[test]
fn five_points_of_accuracy_are_found_in_four_hundred_pairs() {
    let mut random = StdRng::seed_from_u64(11);
    for tolerance in [1.0, 1.1] {
        let median = median((0..301).map(|_| pairs_until(&mut random, tolerance)).collect());
        println!("7 % against 2 % of pairs, tolerance {tolerance}: {median} pairs");
        assert!(median <= 400.0, "{median}");
    }
}

#[test]
fn an_equal_candidate_is_proven_harmless_near_walds_bound() {
    let mut random = StdRng::seed_from_u64(5);
    for split in [0.5, 0.1] {
        // The bound is that of the exchanged arms: ratio 1 against 1/margin.
        let bound = wald(1.0 / 1.5, 0.07, 1.0, 1.0 - split, 0.05);
        let step = (bound / 50.0).ceil() as u64;
        let delays = (0..201).map(|_| {
            let (mut promotion, mut requests) = (Promotion::new(1.5).unwrap(), 0);
            while !promotion.crossed(0.05) {
                promotion.observe(&draw(&mut random, step, split, (0.07, 0.07))).unwrap();
                requests += step;
            }
            requests
        });
        let median = median(delays.collect());
        println!("equal, margin 1.5, split {split}: {median} requests, {:.2} of Wald", median / bound);
        assert!(median < 1.3 * bound, "{median} {bound}");
    }
}

#[test]
fn a_forecast_made_half_way_is_of_the_right_size() {
    let mut random = StdRng::seed_from_u64(3);
    let mut parts: Vec<f64> = (0..101)
        .map(|_| {
            let (mut process, mut requests, mut forecast) = (Process::new(1.1).unwrap(), 0u64, None);
            while !process.crossed(0.0035) {
                process.observe(&draw(&mut random, 100, 0.5, (0.04, 0.02))).unwrap();
                requests += 100;
                if process.log_e() > 0.5 * -(0.0035f64.ln()) {
                    forecast = forecast.or(process.forecast(0.0035).map(|more| (requests, more)));
                }
            }
            let (at, more) = forecast.unwrap();
            (more as f64 + 100.0) / ((requests - at) as f64 + 100.0)
        })
        .collect();
    parts.sort_by(f64::total_cmp);
    println!(
        "forecast over what it took: {:.2}, middle half {:.2} to {:.2}",
        parts[50], parts[25], parts[75]
    );
    assert!(parts[50] > 0.5 && parts[50] < 2.0, "{}", parts[50]);
}

#[test]
fn what_can_be_noticed_is_noticed_more_likely_than_not() {
    // rule: S3. A doubled rate of 2 % beside a holdback of 1 %.
    let fresh = Process::new(1.1).unwrap();
    let needed = |share: f64, ratio: f64| {
        let detects = |n: u64| fresh.detects(0.0035, n, share, 0.02).is_some_and(|least| least <= ratio);
        (1..).map(|n| 500 * n).find(|n| detects(*n)).unwrap()
    };
    let doubled = needed(0.99, 2.0);
    println!("a doubled 2 % beside 1 %: {doubled} requests");
    assert!((90_000..200_000).contains(&doubled), "{doubled}");
    assert_eq!(fresh.detects(0.0035, 10_000_000, 1.0, 0.02), None, "without a holdback");
    assert_eq!(fresh.detects(0.0035, 100, 0.99, 0.02), None, "too few requests");

    let mut random = StdRng::seed_from_u64(4);
    for (share, ratio) in [(0.99, 2.0), (0.5, 3.0), (0.9, 7.0)] {
        let requests = needed(share, ratio);
        let noticed = (0..201)
            .filter(|_| {
                let mut process = fresh.clone();
                for _ in 0..requests / 500 {
                    let stratum = draw(&mut random, 500, share, (0.02 * ratio, 0.02));
                    process.observe(&stratum).unwrap();
                }
                process.crossed(0.0035)
            })
            .count();
        println!("{ratio} times 2 % in {requests} requests at {share}: {noticed} of 201 noticed");
        assert!((101..195).contains(&noticed), "{noticed} of 201 at {share}, {ratio}");
    }
}

/// A histogram of 64 cells: confidence u^(1/sure), `outside` of which is uniform.
fn confidences(random: &mut StdRng, items: u64, sure: f64, outside: f64) -> Vec<u64> {
    let mut cells = vec![0; 64];
    for _ in 0..items {
        let u: f64 = random.random();
        let value = if random.random_bool(outside) { u } else { u.powf(1.0 / sure) };
        cells[(value * 64.0) as usize] += 1;
    }
    cells
}

/// Items of both arms until the tree crosses, and at most `intervals` of 200 items.
fn tree_until(random: &mut StdRng, level: f64, (sure, outside): (f64, f64), intervals: u64) -> Option<u64> {
    let mut tree = Tree::new(Leaves::cut(&confidences(random, 5000, 6.0, 0.0)));
    (1..=intervals).find_map(|i| {
        let (ours, theirs) = (confidences(random, 100, sure, outside), confidences(random, 100, 6.0, 0.0));
        tree.observe(&ours, &theirs).expect("in range");
        tree.crossed(level).then_some(200 * i)
    })
}

#[test]
fn a_tree_finds_changed_confidence_and_leaves_equal_ones_alone() {
    const RUNS: u64 = 100;
    let mut random = StdRng::seed_from_u64(2);
    let alarms = (0..RUNS).filter(|_| tree_until(&mut random, 0.05, (6.0, 0.0), 40).is_some()).count() as u64;
    println!("tree: {alarms} of {RUNS} equal ones at level 0.05");
    assert!(alarms <= most(RUNS, 0.05), "{alarms}");
    for (what, law, limit) in
        [("less sure", (4.0, 0.0), 1600.0), ("10 % lost", (6.0, 0.1), 4800.0), ("unsure", (2.0, 0.0), 400.0)]
    {
        let delays = (0..41).map(|_| tree_until(&mut random, 0.001, law, 100).unwrap_or(u64::MAX));
        let median = median(delays.collect());
        println!("tree: {what} found after {median} items of both at level 0.001");
        assert!(median <= limit, "{what}: {median}");
    }
}

#[test]
fn a_merely_more_confident_model_changes_the_tree_but_is_not_harmful() {
    // rule: S1. Low confidence is what 5 % of stable's answers have; the candidate's are all surer.
    let mut random = StdRng::seed_from_u64(6);
    for _ in 0..10 {
        let mut tree = Tree::new(Leaves::cut(&confidences(&mut random, 5000, 6.0, 0.0)));
        let mut low_confidence = Process::new(1.25).unwrap();
        for _ in 0..50 {
            let ours = confidences(&mut random, 100, 12.0, 0.0);
            let theirs = confidences(&mut random, 100, 6.0, 0.0);
            tree.observe(&ours, &theirs).unwrap();
            // 0.6^6 = 5 % of stable's answers lie below 0.6.
            let low = |cells: &[u64]| cells[..38].iter().sum();
            let (x, x_stable) = (low(&ours), low(&theirs));
            low_confidence.observe(&Stratum { x, n: 100, x_stable, n_stable: 100, split: None }).unwrap();
        }
        assert!(tree.crossed(ALERT_LEVEL), "{}", tree.log_e());
        assert!(low_confidence.p_value() > 0.5, "{}", low_confidence.p_value());
    }
}

/// Requests until the mismatch test crosses, in intervals of 500.
fn mismatch_until(random: &mut StdRng, truth: f64, intervals: u64) -> Option<u64> {
    let mut mismatch = Mismatch::default();
    (1..=intervals).find_map(|i| {
        let n = hits(random, 500, truth);
        mismatch.observe(n, 500 - n, 0.1).expect("in range");
        mismatch.crossed(ALERT_LEVEL).then_some(500 * i)
    })
}

#[test]
fn a_tenth_too_many_is_a_mismatch() {
    const RUNS: u64 = 100;
    let mut random = StdRng::seed_from_u64(4);
    let alarms = (0..RUNS).filter(|_| mismatch_until(&mut random, 0.1, 100).is_some()).count() as u64;
    assert!(alarms <= most(RUNS, ALERT_LEVEL), "{alarms} of {RUNS}");
    for (truth, limit) in [(0.11, 20_000.0), (0.12, 6000.0)] {
        let delays = (0..81).map(|_| mismatch_until(&mut random, truth, 200).unwrap_or(u64::MAX));
        let median = median(delays.collect());
        println!("share {truth} instead of 0.1: found after {median} requests");
        assert!(median <= limit, "{truth}: {median}");
    }
}

/// Requests until the alarm, in intervals of `size`, at most `requests`.
fn alarm_after(
    random: &mut StdRng,
    detector: &mut Detector,
    rate: f64,
    size: u64,
    requests: u64,
) -> Option<u64> {
    (1..=requests / size).find_map(|i| {
        let events = hits(random, size, rate);
        detector.observe(events, size).expect("in range");
        detector.alarms(1e6).then_some(size * i)
    })
}

/// A detector that has a baseline of 5,000 requests, and has seen 5,000 more.
fn settled(random: &mut StdRng) -> Detector {
    let baseline = hits(random, 5000, 0.07);
    let mut detector = Detector::from_baseline(baseline, 5000).expect("in range");
    let early = alarm_after(random, &mut detector, 0.07, 10, 5000);
    assert_eq!(early, None);
    detector
}

#[test]
fn a_stream_that_got_worse_is_found_and_one_that_did_not_is_left_alone() {
    let mut random = StdRng::seed_from_u64(9);
    // 20 streams of 50,000: at a run length of a million at least, one false alarm expected at most; more than
    // five have a probability below 1e-3.
    let alarms = (0..20)
        .filter(|_| {
            let mut detector = settled(&mut random);
            alarm_after(&mut random, &mut detector, 0.07, 10, 50_000).is_some()
        })
        .count();
    assert!(alarms <= 5, "{alarms}");
    for (rate, limit) in [(0.14, 800.0), (0.21, 200.0), (0.5, 40.0)] {
        let delays = (0..41).map(|_| {
            let mut detector = settled(&mut random);
            alarm_after(&mut random, &mut detector, rate, 1, 20_000).unwrap_or(u64::MAX)
        });
        let median = median(delays.collect());
        println!("rate 0.07 to {rate}: alarm after {median} requests ({alarms} of 20 false in 50,000)");
        assert!(median <= limit, "{rate}: {median}");
    }
}
