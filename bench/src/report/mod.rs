//! The figures for people: a table for the terminal and the documentation, and a chart.

pub(crate) mod chart;
pub(crate) mod table;

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let whole = format!("{value:.0}");
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole.as_str()), |digits| ("-", digits));
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        format!("{sign}{grouped}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.1 || size == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let texts = [0.0, 0.0421, 0.421, 4.213, 42.13, 421.3, 4213.0, 1_234_567.8].map(number);
        assert_eq!(texts, ["0.00", "0.042", "0.42", "4.21", "42.1", "421", "4,213", "1,234,568"]);
    }
}
