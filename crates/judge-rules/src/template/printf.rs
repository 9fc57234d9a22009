//! `printf`: the verbs of Go's `fmt` for the values that templates have.

use homeostat_model::number_text::{rounded, shortest};

use super::Value;

/// Widest column and most decimals that a verb may ask for.
const WIDTH_MAX: usize = 1000;

/// What stands between `%` and the verb.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go's five flags, each of which stands or does not")]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn format(format: &str, args: &[Value]) -> String {
    let (mut out, mut args, mut rest) = (String::new(), args.iter(), format);
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let (spec, verb, behind) = spec(behind, &mut args);
        rest = behind;
        match verb {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => {
                let text = args.next().map(|arg| padded(&one(verb, &spec, arg), &spec));
                out.push_str(&text.unwrap_or_else(|| format!("%!{verb}(MISSING)")));
            }
        }
    }
    out.push_str(rest);
    let extra: Vec<_> = args.map(|arg| format!("{}={}", arg.type_name(), arg.shown())).collect();
    if !extra.is_empty() {
        out.push_str("%!(EXTRA ");
        out.push_str(&extra.join(", "));
        out.push(')');
    }
    out
}

fn spec<'t>(text: &'t str, args: &mut std::slice::Iter<'_, Value>) -> (Spec, Option<char>, &'t str) {
    let mut spec = Spec::default();
    let mut rest = text;
    loop {
        let Some(c) = rest.chars().next() else { return (spec, None, rest) };
        match c {
            '-' => spec.left = true,
            '0' => spec.zero = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '#' => spec.sharp = true,
            _ => break,
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    spec.width = count(&mut rest, args).unwrap_or(0);
    if let Some(behind) = rest.strip_prefix('.') {
        rest = behind;
        spec.precision = Some(count(&mut rest, args).unwrap_or(0));
    }
    let mut chars = rest.chars();
    let verb = chars.next();
    (spec, verb, chars.as_str())
}

/// Digits, or `*` for an argument.
fn count(rest: &mut &str, args: &mut std::slice::Iter<'_, Value>) -> Option<usize> {
    if let Some(behind) = rest.strip_prefix('*') {
        *rest = behind;
        return match args.next() {
            Some(Value::Int(count)) => usize::try_from(*count).ok().map(|count| count.min(WIDTH_MAX)),
            _ => None,
        };
    }
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at_checked(end)?;
    *rest = behind;
    if digits.is_empty() { None } else { Some(digits.parse().map_or(WIDTH_MAX, |count: usize| count.min(WIDTH_MAX))) }
}

fn one(verb: char, spec: &Spec, arg: &Value) -> String {
    match (verb, arg) {
        ('v', Value::Float(value)) => signed(shortest(*value), spec),
        ('v' | 'd', Value::Int(value)) => signed(value.to_string(), spec),
        ('v', value) => value.shown(),
        ('T', value) => value.type_name().to_owned(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('s', Value::Text(_) | Value::Duration(_) | Value::Time(_)) => {
            let text = arg.shown();
            spec.precision.map_or(text.clone(), |most| text.chars().take(most).collect())
        }
        ('q', Value::Text(text)) => homeostat_promql::quote::quote(text),
        ('x', Value::Int(value)) => based(*value, &format!("{:x}", value.unsigned_abs())),
        ('X', Value::Int(value)) => based(*value, &format!("{:X}", value.unsigned_abs())),
        ('o', Value::Int(value)) => based(*value, &format!("{:o}", value.unsigned_abs())),
        ('b', Value::Int(value)) => based(*value, &format!("{:b}", value.unsigned_abs())),
        ('c', Value::Int(value)) => {
            u32::try_from(*value).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
        }
        ('x', Value::Text(text)) => text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(value)) => signed(float(verb, spec.precision, *value), spec),
        _ => format!("%!{verb}({}={})", arg.type_name(), arg.shown()),
    }
}

fn based(value: i64, digits: &str) -> String {
    format!("{}{digits}", if value < 0 { "-" } else { "" })
}

fn float(verb: char, precision: Option<usize>, value: f64) -> String {
    if !value.is_finite() {
        return shortest(value).trim_start_matches('+').replace("Inf", if value > 0.0 { "+Inf" } else { "Inf" });
    }
    match (verb, precision) {
        ('f' | 'F', precision) => format!("{value:.*}", precision.unwrap_or(6)),
        ('e' | 'E', precision) => {
            let text = exponent(&format!("{value:.*e}", precision.unwrap_or(6)));
            if verb == 'E' { text.to_uppercase() } else { text }
        }
        (_, Some(digits)) => rounded(value, digits.max(1)),
        _ => shortest(value),
    }
}

/// `1.5e3` as `1.5e+03`.
fn exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn signed(text: String, spec: &Spec) -> String {
    if text.starts_with(['-', '+']) {
        return text;
    }
    match (spec.plus, spec.space) {
        (true, _) => format!("+{text}"),
        (false, true) => format!(" {text}"),
        _ => text,
    }
}

fn padded(text: &str, spec: &Spec) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text.to_owned();
    }
    if spec.left {
        return format!("{text}{}", " ".repeat(missing));
    }
    if spec.zero {
        let (sign, digits) = text.split_at_checked(usize::from(text.starts_with(['-', '+']))).unwrap_or(("", text));
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    format!("{}{text}", " ".repeat(missing))
}
