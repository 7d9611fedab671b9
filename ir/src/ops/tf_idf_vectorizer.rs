//! Counts of n-grams of tokens: `Y[…, ngram_indexes[i]] = Σ occurrences of the i-th n-gram`, weighted by `mode`.
//!
//! `X: T[c]` or `T[b, c]`, `Y: f32[w]` or `f32[b, w]`, `w = max(ngram_indexes) + 1`. The pool lists all 1-grams, then all
//! 2-grams and so on; `ngram_counts[k]` is where the (k+1)-grams begin. An n-gram of `min_gram_length..=max_gram_length`
//! tokens occurs at a start and with a skip `s` in `0..=max_skip_count` where its tokens stand `s + 1` apart; 1-grams are
//! counted once, whatever the skips. Of equal n-grams in the pool the last counts.
//!
//! `TF` gives the counts, `IDF` the weight where the count is not 0, `TFIDF` weight times count; weight `i` is that of the
//! `i`-th n-gram of the pool (as in ONNX Runtime; ONNX's reference takes that of column `i`), 1 where there are none. Of
//! n-grams with one column `TFIDF` adds the products, `IDF` takes the weight of the last that occurs; the specification is
//! silent on them.
//!
//! - **C1** `X` holds strings where the pool does, else `i32` or `i64`
//! - **C2** `X` has rank 1 or 2 (or 0: one token)
//! - **C3** exactly one pool is given; `ngram_counts` do not fall and lie in the pool, and cut it into whole n-grams
//! - **C4** `ngram_indexes` has one entry an n-gram, none negative
//! - **C5** `mode` is known, and `weights`, where given, has an entry an n-gram
//! - **C6** `1 <= min_gram_length <= max_gram_length`, `max_skip_count` is not negative
//!
//! ONNX `TfIdfVectorizer`: opset 9.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::hash::Hash;

attributes! {
    /// Attributes of `TfIdfVectorizer`.
    pub struct TfIdfVectorizer {
        /// Longest n-gram that counts.
        max_gram_length: i64,
        /// Most tokens that are skipped between two of an n-gram.
        max_skip_count: i64,
        /// Shortest n-gram that counts.
        min_gram_length: i64,
        /// `TF`, `IDF` or `TFIDF`.
        mode: String,
        /// Where the 1-grams, 2-grams … begin in the pool.
        ngram_counts: Vec<i64>,
        /// Column of each n-gram.
        ngram_indexes: Vec<i64>,
        /// The n-grams of integers.
        pool_int64s: Vec<i64> = Vec::new(),
        /// The n-grams of strings.
        pool_strings: Vec<String> = Vec::new(),
        /// Weight of each n-gram.
        weights: Vec<f32> = Vec::new(),
    }
}

impl TfIdfVectorizer {
    /// Columns of the result.
    fn width(&self) -> usize {
        self.ngram_indexes.iter().max().map_or(0, |&m| m as usize + 1)
    }

    /// For each length the range of its n-grams in a pool of `len` tokens; none where the attributes do not fit.
    fn ranges(&self, len: usize) -> Option<Vec<(usize, usize)>> {
        let mut bounds = self.ngram_counts.iter().map(|&c| usize::try_from(c).ok()).collect::<Option<Vec<usize>>>()?;
        bounds.push(len);
        let ranges: Vec<(usize, usize)> = bounds.windows(2).map(|w| (w[0], w[1])).collect();
        let whole = |(k, &(a, b)): (usize, &(usize, usize))| a <= b && (b - a).is_multiple_of(k + 1);
        ranges.iter().enumerate().all(whole).then_some(ranges)
    }

    /// Where the n-grams that count stand in the pool, by their tokens.
    fn places<'p, T: Hash + Eq>(&self, pool: &'p [T]) -> Result<HashMap<Vec<&'p T>, usize>> {
        let ranges = self.ranges(pool.len()).ok_or_else(|| Error::bug("the rule has checked the pool"))?;
        let lengths = self.min_gram_length..=self.max_gram_length;
        let mut places = HashMap::new();
        let mut place = 0;
        for (k, (a, b)) in ranges.into_iter().enumerate() {
            for gram in pool[a..b].chunks_exact(k + 1) {
                if lengths.contains(&(k as i64 + 1)) {
                    places.insert(gram.iter().collect(), place);
                }
                place += 1;
            }
        }
        Ok(places)
    }

    /// Takes an n-gram that occurs into its column.
    fn take(&self, place: usize, columns: &mut [f64]) {
        let weight = self.weights.get(place).map_or(1.0, |&w| f64::from(w));
        let y = &mut columns[self.ngram_indexes[place] as usize];
        match self.mode.as_str() {
            "TF" => *y += 1.0,
            "IDF" => *y = weight,
            _ => *y += weight,
        }
    }

    /// Takes the n-grams of one row of tokens into its columns.
    fn count<T: Hash + Eq>(&self, row: &[T], places: &HashMap<Vec<&T>, usize>, columns: &mut [f64]) {
        let longest = usize::try_from(self.max_gram_length).unwrap_or(usize::MAX).min(self.ngram_counts.len());
        let mut shortest = self.min_gram_length.max(1) as usize;
        for step in 1..=(self.max_skip_count as usize).saturating_add(1) {
            if shortest > longest || step.saturating_mul(shortest - 1) >= row.len() {
                break;
            }
            for start in 0..row.len() {
                let mut gram = Vec::with_capacity(longest);
                for at in (start..row.len()).step_by(step).take(longest) {
                    gram.push(&row[at]);
                    if gram.len() >= shortest
                        && let Some(&place) = places.get(&gram)
                    {
                        self.take(place, columns);
                    }
                }
            }
            shortest = shortest.max(2);
        }
    }

    /// All rows.
    fn count_all<T: Hash + Eq>(&self, cx: &EvalCx<'_>, pool: &[T], tokens: &[T], y: &mut [f64]) -> Result<()> {
        let places = self.places(pool)?;
        let rows = y.len().checked_div(self.width()).unwrap_or(0);
        let per_row = tokens.len().checked_div(rows).unwrap_or(0);
        for (r, columns) in y.chunks_exact_mut(self.width().max(1)).enumerate() {
            cx.env.check()?;
            self.count(&tokens[r * per_row..(r + 1) * per_row], &places, columns);
        }
        Ok(())
    }
}

impl Op for TfIdfVectorizer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (ints, strings) = (self.pool_int64s.len(), self.pool_strings.len());
        let allowed: &[DType] = if strings > 0 { &[DType::String] } else { sets::INDEX };
        cx.require_dtype("C1", 0, allowed)?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() <= 2, || format!("X has rank {}", x.len()))?;
        let ranges = self.ranges(ints.max(strings)).filter(|_| ints == 0 || strings == 0);
        cx.require("C3", ranges.is_some(), || {
            format!("`ngram_counts` {:?} for pools of {ints} integers and {strings} strings", self.ngram_counts)
        })?;
        let grams: usize = ranges.unwrap_or_default().iter().enumerate().map(|(k, (a, b))| (b - a) / (k + 1)).sum();
        let indexed = self.ngram_indexes.len() == grams && self.ngram_indexes.iter().all(|&i| i >= 0);
        cx.require("C4", indexed && grams > 0, || {
            format!("`ngram_indexes` has {} entries for {grams} n-grams", self.ngram_indexes.len())
        })?;
        let width = self.ngram_indexes.iter().max().map_or(Dim::ZERO, |&m| Dim::int(m) + 1);
        let weights = self.weights.len();
        let known = matches!(self.mode.as_str(), "TF" | "IDF" | "TFIDF");
        let weighted = weights == 0 || weights == grams;
        cx.require("C5", known && weighted, || {
            format!("mode \"{}\" with {weights} weights for {grams} n-grams", self.mode)
        })?;
        let lengths = 1 <= self.min_gram_length && self.min_gram_length <= self.max_gram_length;
        cx.require("C6", lengths && self.max_skip_count >= 0, || {
            format!("lengths {}..={}, skips {}", self.min_gram_length, self.max_gram_length, self.max_skip_count)
        })?;
        let mut shape: Vec<Dim> = x.into_iter().rev().skip(1).collect();
        shape.push(width);
        cx.output(DType::F32, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let mut y = vec![0.0; len_elems(&shape)?];
        if self.pool_strings.is_empty() {
            self.count_all(cx, &self.pool_int64s, &x.to_i64s()?, &mut y)?;
        } else {
            let pool: Vec<Arc<str>> = self.pool_strings.iter().map(|s| Arc::from(s.as_str())).collect();
            self.count_all(cx, &pool, x.strings()?, &mut y)?;
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }
}

op! {
    TfIdfVectorizer in "ai.onnx" since [9]; "X" => "Y";
    summary: "weighted counts of n-grams";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @tf_idf_vectorizer([1, 2, 1]) == [2.0, 1.0]
graph @tf_idf_vectorizer(%x: i64[3]) -> f32[2] {
  %y = tf_idf_vectorizer %x {max_gram_length = 1, max_skip_count = 0, min_gram_length = 1, mode = "TF", ngram_counts = [0], ngram_indexes = [0, 1], pool_int64s = [1, 2]} : f32[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn attributes(mode: &str, lengths: (i64, i64), skips: i64) -> crate::Attrs {
        attrs! {
            mode: mode, min_gram_length: lengths.0, max_gram_length: lengths.1, max_skip_count: skips,
            ngram_counts: vec![0i64, 2], ngram_indexes: vec![0i64, 2, 1], pool_int64s: vec![5i64, 6, 5, 6],
        }
    }

    fn go(a: crate::Attrs, x: &[i64]) -> Vec<f64> {
        run1("TfIdfVectorizer", a, &[Tensor::from_slice(&[x.len()], x)]).unwrap().floats().unwrap()
    }

    #[test]
    fn tf_idf_vectorizer_counts_with_skips() {
        let x = [5, 6, 7, 6];
        assert_eq!(go(attributes("TF", (1, 2), 0), &x), [1.0, 1.0, 2.0]);
        // 5 _ _ 6 is found with a skip of two; 1-grams count once.
        assert_eq!(go(attributes("TF", (1, 2), 2), &x), [1.0, 2.0, 2.0]);
        assert_eq!(go(attributes("TF", (2, 2), i64::MAX), &x), [0.0, 2.0, 0.0]);
    }

    #[test]
    fn tf_idf_vectorizer_weighs_n_grams_of_the_pool() {
        let weighted = |mode| {
            let mut a = attributes(mode, (1, 2), 0);
            a.insert("weights".into(), Attr::Floats(vec![2.0, 3.0, 4.0]));
            go(a, &[5, 6, 7, 6])
        };
        assert_eq!(weighted("IDF"), [2.0, 4.0, 3.0]);
        assert_eq!(weighted("TFIDF"), [2.0, 4.0, 6.0]);
    }

    #[test]
    fn tf_idf_vectorizer_of_rows_of_strings() {
        let a = attrs! {
            mode: "TF", min_gram_length: 1i64, max_gram_length: 1i64, max_skip_count: 0i64, ngram_counts: vec![0i64],
            ngram_indexes: vec![1i64], pool_strings: Attr::Strings(vec!["a".into()]),
        };
        let x = Tensor::from_strings(&[2, 2], ["a", "b", "a", "a"].map(Arc::from).to_vec());
        assert_eq!(run1("TfIdfVectorizer", a, &[x]).unwrap(), Tensor::from_slice(&[2, 2], &[0.0f32, 1.0, 0.0, 2.0]));
    }

    #[test]
    fn tf_idf_vectorizer_constraints_are_named() {
        let label = |a, d, s: &[usize]| violated("TfIdfVectorizer", a, &[Type::tensor(d, s)]);
        let name = |n| Some(format!("TfIdfVectorizer.C{n}"));
        let good = || attributes("TF", (1, 2), 0);
        let with = |key: &str, v: Attr| {
            let mut a = good();
            a.insert(key.into(), v);
            label(a, DType::I64, &[4])
        };
        assert_eq!(label(good(), DType::String, &[4]), name(1));
        assert_eq!(label(good(), DType::I64, &[1, 1, 4]), name(2));
        assert_eq!(with("ngram_counts", vec![0i64, 3].into()), name(3));
        assert_eq!(with("ngram_indexes", vec![0i64, -1, 1].into()), name(4));
        assert_eq!(with("mode", "X".into()), name(5));
        let mut short = attributes("IDF", (1, 2), 0);
        short.insert("weights".into(), Attr::Floats(vec![2.0; 2]));
        assert_eq!(label(short, DType::I64, &[4]), name(5));
        assert_eq!(with("max_skip_count", Attr::from(-1i64)), name(6));
    }
}
