use evidence::*;
fn main() {
    let ours: Vec<u64> = vec![30, 25, 33, 28, 31, 35, 20, 29, 40, 29];
    let theirs: Vec<u64> = vec![300, 310, 290, 305, 300, 310, 290, 300, 300, 295];
    let f: Vec<u64> = (0..64).map(|i| (i * 7 % 13) as u64 + 1).collect();
    let g: Vec<u64> = (0..64).map(|i| (i * 5 % 11) as u64 * 9 + 5).collect();
    let v: Vec<f64> = (0..64).map(|i| (i as f64 + 0.5) / 64.0).collect();
    for level in [0.0, 1e-3, 1e-6] {
        let t = |name: &str, h: &dyn Fn() -> Distance| {
            let s = std::time::Instant::now();
            for _ in 0..20000 {
                std::hint::black_box(h());
            }
            println!("{level} {name} {:.2} us", s.elapsed().as_secs_f64() / 20000.0 * 1e6)
        };
        t("psi", &|| psi(&ours, &theirs, level).unwrap());
        t("js", &|| jensen_shannon(&ours, &theirs, level).unwrap());
        t("chi", &|| chi_square(&ours, &theirs, level).unwrap());
        t("linf", &|| l_infinity(&ours, &theirs, level).unwrap());
        t("ks", &|| ks(&f, &g, level).unwrap());
        t("w1", &|| wasserstein(&f, &g, &v, level).unwrap());
    }
}
