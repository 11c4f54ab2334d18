//! Numbers for people.

/// A number with three significant digits, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..6).contains(&magnitude) {
        return format!("{value:.1e}");
    }
    let decimals = (2 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Seconds, in milliseconds below one.
pub(crate) fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{} ms", number(1000.0 * value)) } else { format!("{} s", number(value)) }
}

/// A count with thousands separated.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [0.62, 0.000_2, 1.0 / 3.0, 1234.5, 100.0, 99.0, 0.1 + 0.2, 0.0, 1e-9, 2.5e7]
            .into_iter()
            .map(number)
            .collect();
        assert_eq!(shown, ["0.62", "0.0002", "0.333", "1234", "100", "99", "0.3", "0", "1.0e-9", "2.5e7"]);
        assert_eq!(count(3_708), "3,708");
        assert_eq!(count(412), "412");
        assert_eq!(count(1_000_000), "1,000,000");
    }
}
