//! Forms for people and machines: tables, numbers with units, values.

use egret::{DType, Tensor, Value};
use serde_json::{Value as Json, json};
use std::fmt::Write;
use std::time::Duration;

/// Rows under headings, columns aligned: numbers (a column whose cells all start with a digit) to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count());
        cells.chain([head[c].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let is_number = |s: &str| s.is_empty() || s == "-" || s.starts_with(|c: char| c.is_ascii_digit());
    let right: Vec<bool> = (0..head.len())
        .map(|c| !rows.is_empty() && rows.iter().all(|r| r.get(c).is_none_or(|s| is_number(s))))
        .collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (c, cell) in cells.enumerate() {
            let pad = widths[c] - cell.chars().count();
            let (before, after) = if right[c] { (pad, 0) } else { (0, pad) };
            let _ = write!(text, "{}{cell}{}  ", " ".repeat(before), " ".repeat(after));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut head.iter().copied());
    let rules: Vec<String> = widths.iter().map(|&w| "-".repeat(w)).collect();
    line(&mut rules.iter().map(String::as_str));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// Bytes with a binary unit.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2} GiB")
}

/// A time with three figures or so.
pub(super) fn time(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1e3;
    match ms {
        _ if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        _ if ms >= 100.0 => format!("{ms:.0} ms"),
        _ if ms >= 1.0 => format!("{ms:.2} ms"),
        _ => format!("{:.1} us", ms * 1e3),
    }
}

/// `n thing` or `n things`.
pub(super) fn count(n: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(n as u64), if n == 1 { "" } else { "s" })
}

/// One element in words.
fn element(t: &Tensor, i: usize) -> String {
    let one = || t.take(&[], [i]).ok();
    let Some(t) = one() else { return "?".into() };
    match t.dtype() {
        DType::String => t.strings().map_or("?".into(), |s| format!("{:?}", s[0])),
        DType::Bool => t.bools().map_or("?".into(), |b| b[0].to_string()),
        d if d.is_int() => t.ints().map_or("?".into(), |v| v[0].to_string()),
        DType::C64 | DType::C128 => {
            t.complexes().map_or("?".into(), |c| format!("{}{:+}i", short(c[0].0), short(c[0].1)))
        }
        _ => t.floats().map_or("?".into(), |v| short(v[0])),
    }
}

/// A float with six figures.
fn short(v: f64) -> String {
    if v == 0.0 || !v.is_finite() || (1e-4..1e6).contains(&v.abs()) {
        let text = format!("{v:.6}");
        return match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        };
    }
    format!("{v:.5e}")
}

/// A value in a few lines: type, first elements, range.
pub(super) fn value(v: &Value, n_elements: usize) -> String {
    match v {
        Value::Tensor(t) => {
            let shown = t.len().min(n_elements);
            let mut text: Vec<String> = (0..shown).map(|i| element(t, i)).collect();
            if shown < t.len() {
                text.push(format!("… ({} elements)", grouped(t.len() as u64)));
            }
            let mut out = format!("[{}]", text.join(", "));
            if let (true, true, Ok(all)) = (t.dtype().is_float(), shown < t.len(), t.floats()) {
                let finite = || all.iter().filter(|v| v.is_finite());
                let (lo, hi) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
                let n_odd = all.len() - finite().count();
                if lo <= hi {
                    let _ = write!(out, " from {} to {}", short(lo), short(hi));
                }
                if n_odd > 0 {
                    let _ = write!(out, ", {n_odd} not finite");
                }
            }
            out
        }
        Value::Sequence(_, items) => {
            let all: Vec<String> = items.iter().take(n_elements).map(|i| value(i, n_elements)).collect();
            format!("sequence of {}: {}", items.len(), all.join("; "))
        }
        Value::Optional(_, None) => "none".into(),
        Value::Optional(_, Some(v)) => value(v, n_elements),
        Value::Map(_, _, items) => {
            let all: Vec<String> =
                items.iter().take(n_elements).map(|(k, v)| format!("{k:?}: {}", value(v, n_elements))).collect();
            format!("map of {}: {}", items.len(), all.join("; "))
        }
    }
}

/// A value as JSON with at most `n_elements` elements a tensor.
pub(super) fn json(v: &Value, n_elements: usize) -> Json {
    match v {
        Value::Tensor(t) => {
            let shown = t.len().min(n_elements);
            let numbers = |all: Vec<f64>| -> Json {
                // JSON has no NaN or infinity: they become strings.
                all[..shown].iter().map(|&v| if v.is_finite() { json!(v) } else { json!(v.to_string()) }).collect()
            };
            let elements: Json = match t.dtype() {
                DType::F32 => match t.slice::<f32>() {
                    // The shortest decimal of an f32, not that of its f64 neighbour.
                    Ok(s) => s[..shown]
                        .iter()
                        .map(|v| {
                            v.to_string()
                                .parse::<f64>()
                                .ok()
                                .filter(|f| f.is_finite())
                                .map_or(json!(v.to_string()), |f| json!(f))
                        })
                        .collect(),
                    Err(_) => Json::Null,
                },
                DType::String => t.strings().map_or(Json::Null, |s| s[..shown].iter().map(|s| json!(&**s)).collect()),
                DType::Bool => t.bools().map_or(Json::Null, |b| json!(b[..shown])),
                d if d.is_int() => {
                    t.ints().map_or(Json::Null, |v| v[..shown].iter().map(|&v| json!(v as i64)).collect())
                }
                _ => t.floats().map_or(Json::Null, numbers),
            };
            json!({ "dtype": t.dtype().name(), "shape": t.shape(), "elements": elements, "cut": shown < t.len() })
        }
        Value::Sequence(_, items) => json!({ "sequence": items.iter().map(|i| json(i, n_elements)).collect::<Json>() }),
        Value::Optional(_, inner) => json!({ "optional": inner.as_ref().map(|v| json(v, n_elements)) }),
        Value::Map(_, _, items) => {
            let entry = |(k, v): &(egret::ir::Key, Value)| match k {
                egret::ir::Key::Int(i) => json!([i, json(v, n_elements)]),
                egret::ir::Key::String(s) => json!([s, json(v, n_elements)]),
            };
            json!({ "map": items.iter().map(entry).collect::<Json>() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(time(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(f64::NAN), "NaN");
        assert_eq!(short(1e-9), "1.00000e-9");
    }

    #[test]
    fn tables_align_numbers_to_the_right() {
        let text = table(&["op", "n"], &[vec!["Add".into(), "7".into()], vec!["Relu".into(), "12".into()]]);
        assert_eq!(text, "op     n\n----  --\nAdd    7\nRelu  12\n");
    }

    #[test]
    fn values_are_shown_short_and_whole() {
        let t = Value::from(Tensor::from_slice(&[3], &[1.0f32, 0.1, f32::INFINITY]));
        assert_eq!(value(&t, 2), "[1, 0.1, … (3 elements)] from 0.1 to 1, 1 not finite");
        assert_eq!(json(&t, 9)["elements"], serde_json::json!([1.0, 0.1, "inf"]));
    }
}
