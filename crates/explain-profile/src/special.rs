//! The distribution function that the test needs.

/// Probability that the absolute value of a variable with Student's t distribution is at least `t`.
/// Source: NIST Digital Library of Mathematical Functions, 8.17; Abramowitz and Stegun, 26.7.1.
pub(crate) fn student_two_sided(t: f64, degrees: f64) -> f64 {
    incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5).clamp(0.0, 1.0)
}

/// Regularised incomplete beta function `I_x(a, b)` by its continued fraction (DLMF 8.17.22), which converges fast for
/// `x` below the mean; above it the symmetry `I_x(a, b) = 1 - I_{1-x}(b, a)` helps.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if 1.0 <= x {
        return 1.0;
    }
    if (a + 1.0) / (a + b + 2.0) < x {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    front * fraction(x, a, b)
}

/// Lentz's method: numerators and denominators are kept away from zero.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut upper, mut lower) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = lower;
    for step in 1..300 {
        let step = f64::from(step);
        let even = step * (b - step) * x / ((a + 2.0 * step - 1.0) * (a + 2.0 * step));
        let odd = -(a + step) * (a + b + step) * x / ((a + 2.0 * step) * (a + 2.0 * step + 1.0));
        let before = value;
        for term in [even, odd] {
            lower = 1.0 / away(1.0 + term * lower);
            upper = away(1.0 + term / upper);
            value *= upper * lower;
        }
        if (value - before).abs() < 1e-14 * value.abs() {
            break;
        }
    }
    value
}

/// Stirling's series (DLMF 5.11.1) after shifting the argument up to where it is exact to double precision.
fn ln_gamma(x: f64) -> f64 {
    let (mut shift, mut x) = (0.0, x);
    while x < 12.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_tables() {
        // Abramowitz and Stegun, table 26.10: quantiles of t for a two-sided probability of 5 %, 1 % and 0.1 %.
        for (degrees, t, p) in [
            (1.0, 12.706_204_736, 0.05),
            (4.0, 2.776_445_105, 0.05),
            (10.0, 3.169_272_673, 0.01),
            (30.0, 3.645_958_635, 0.001),
            (1e6, 1.959_966, 0.05),
        ] {
            let found = student_two_sided(t, degrees);
            assert!((found - p).abs() < 1e-6, "{degrees} {t}: {found}");
            assert!((student_two_sided(-t, degrees) - found).abs() < 1e-15);
        }
        assert!((student_two_sided(0.0, 5.0) - 1.0).abs() < 1e-15);
        assert!(student_two_sided(1e9, 5.0) < 1e-30);
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-13);
        assert!((ln_gamma(10.0) - 362_880_f64.ln()).abs() < 1e-12);
    }
}
