//! Steps of a run: each has a name, a duration and an outcome; the first that fails ends the run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Reads cargo's `test result: ok. 12 passed; 0 failed; …`; none for any other line.
    pub(crate) fn from_cargo_test(line: &str) -> Option<Count> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        Count::of(counts, "; ")
    }

    /// Reads the last line of `egret conform`: `12 passed, 0 failed, 3 skipped`; none for any other line.
    pub(crate) fn from_conform(line: &str) -> Option<Count> {
        Count::of(line, ", ")
    }

    /// Reads the last line of `egret fuzz run`: `1,000 graphs in 20.1 s (50 a second), …, 2 findings`; none for any other
    /// line.
    pub(crate) fn from_campaign(line: &str) -> Option<Count> {
        let number = |text: &str| text.replace(',', "").parse::<u64>().ok();
        let (graphs, rest) = line.split_once(" graphs in ")?;
        let found = rest.rsplit_once(", ")?.1;
        let failed = number(found.strip_suffix(" findings").or_else(|| found.strip_suffix(" finding"))?)?;
        Some(Count { passed: number(graphs)?.saturating_sub(failed), failed })
    }

    /// Reads `12 passed<separator>3 failed` and whatever follows; none if the text does not start so.
    fn of(text: &str, separator: &str) -> Option<Count> {
        let (passed, rest) = text.split_once(" passed")?;
        let (failed, _) = rest.strip_prefix(separator)?.split_once(" failed")?;
        Some(Count { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// What a step that did not fail did.
pub(crate) enum Outcome {
    /// Something that is no test was done.
    Done,
    /// Tests ran.
    Tested(Count),
    /// Nothing was done, for this reason.
    Skipped(String),
}

enum Verdict {
    Ok,
    Skipped(String),
    Failed,
}

struct Step {
    name: &'static str,
    verdict: Verdict,
    count: Option<Count>,
    took: Duration,
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
}

impl Report {
    /// Whether this step ran.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.name == name)
    }

    /// Runs a step and writes down how it went. An error names the step and says how to repeat it: `rerun`.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        rerun: &str,
        work: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        self.tests(name, rerun, || match work() {
            Ok(outcome) => (outcome, Ok(())),
            Err(error) => (Outcome::Done, Err(error)),
        })
    }

    /// The same for a step that knows how many tests passed even when it fails.
    pub(crate) fn tests(
        &mut self,
        name: &'static str,
        rerun: &str,
        work: impl FnOnce() -> (Outcome, Result<()>),
    ) -> Result<()> {
        println!("\n=== {name} ===");
        let start = Instant::now();
        let (outcome, result) = work();
        let took = start.elapsed();
        let (mut verdict, count) = match outcome {
            Outcome::Done => (Verdict::Ok, None),
            Outcome::Tested(count) => (Verdict::Ok, Some(count)),
            Outcome::Skipped(reason) => (Verdict::Skipped(reason), None),
        };
        if result.is_err() {
            verdict = Verdict::Failed;
        }
        let word = match &verdict {
            Verdict::Ok => "done".to_owned(),
            Verdict::Skipped(reason) => format!("skipped ({reason})"),
            Verdict::Failed => "failed".to_owned(),
        };
        println!("=== {name}: {word}, {:.1} s ===", took.as_secs_f64());
        // Programs started next write to the same place without going through our buffer.
        std::io::stdout().flush().context("cannot write to standard output")?;
        self.steps.push(Step { name, verdict, count, took });
        result.with_context(|| format!("step `{name}` failed (repeat it with `{rerun}`)"))
    }

    /// A table of the steps; if tests ran, its last line is `<n> passed, <n> failed`, their sum over the steps. A step that
    /// failed without a failing test (a build error, a crash) counts as one failure.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("\n");
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0).max(4);
        let _ = writeln!(text, "{:width$}  {:>9}  {:>7}  {:>7}  verdict", "step", "time", "passed", "failed");
        let mut total = Count::default();
        for step in &self.steps {
            let cell = |value: Option<u64>| value.map_or("-".to_owned(), |n| n.to_string());
            let (passed, failed) = (step.count.map(|c| c.passed), step.count.map(|c| c.failed));
            let (time, verdict) = (format!("{:.1} s", step.took.as_secs_f64()), step.verdict_text());
            let _ =
                writeln!(text, "{:width$}  {time:>9}  {:>7}  {:>7}  {verdict}", step.name, cell(passed), cell(failed));
            total += step.count.unwrap_or_default();
            if matches!(step.verdict, Verdict::Failed) && step.count.is_none_or(|count| count.failed == 0) {
                total.failed += 1;
            }
        }
        let seconds: f64 = self.steps.iter().map(|step| step.took.as_secs_f64()).sum();
        let _ = writeln!(text, "{:width$}  {:>9}", "all", format!("{seconds:.1} s"));
        if total.failed > 0 || self.steps.iter().any(|step| step.count.is_some()) {
            let _ = writeln!(text, "{} passed, {} failed", total.passed, total.failed);
        }
        text
    }
}

impl Step {
    fn verdict_text(&self) -> String {
        match &self.verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Failed => "FAILED".to_owned(),
            Verdict::Skipped(reason) => format!("skipped: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_test_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(Count::from_cargo_test(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(Count::from_cargo_test("test result: ok. many passed; 3 failed;"), None);
        assert_eq!(Count::from_cargo_test("test dim::tests::sums_are_sorted ... ok"), None);
        assert_eq!(Count::from_cargo_test(""), None);
    }

    #[test]
    fn the_last_line_of_conform_is_counted() {
        assert_eq!(Count::from_conform("12 passed, 3 failed, 1 skipped"), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(Count::from_conform("test_abs: 3 of 60 elements differ"), None);
    }

    #[test]
    fn the_last_line_of_a_campaign_is_counted() {
        let line = "4,000 graphs in 149.7 s (27 a second), 0 not supported, 198 operators used, the most used 102 times, 1 finding";
        assert_eq!(Count::from_campaign(line), Some(Count { passed: 3999, failed: 1 }));
        assert_eq!(
            Count::from_campaign("12 graphs in 0.1 s (120 a second), 0 findings"),
            Some(Count { passed: 12, failed: 0 })
        );
        assert_eq!(Count::from_campaign("egret: native (wrong): 1 of 2"), None);
    }

    #[test]
    fn the_table_ends_with_the_sum() {
        let mut report = Report::default();
        report.step("build", "make", || Ok(Outcome::Done)).unwrap();
        report.step("a", "make a", || Ok(Outcome::Tested(Count { passed: 2, failed: 0 }))).unwrap();
        report.step("b", "make b", || Ok(Outcome::Skipped("no data".to_owned()))).unwrap();
        report.step("c", "make c", || Ok(Outcome::Tested(Count { passed: 3, failed: 0 }))).unwrap();
        let table = report.table();
        assert!(table.ends_with("\n5 passed, 0 failed\n"), "{table}");
        assert!(table.contains("skipped: no data"), "{table}");
    }

    #[test]
    fn a_failed_step_says_how_to_repeat_it_and_is_counted() {
        let mut report = Report::default();
        let error = report.step("lint", "make lint", || anyhow::bail!("warnings")).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `lint` failed (repeat it with `make lint`): warnings");
        assert!(report.table().ends_with("\n0 passed, 1 failed\n"), "{}", report.table());
        let failed = Outcome::Tested(Count { passed: 4, failed: 2 });
        report.tests("unit", "make unit", || (failed, Err(anyhow::anyhow!("exit status: 101")))).unwrap_err();
        assert!(report.table().ends_with("\n4 passed, 3 failed\n"), "{}", report.table());
    }

    #[test]
    fn without_tests_there_is_no_sum() {
        let mut report = Report::default();
        report.step("setup", "make setup", || Ok(Outcome::Done)).unwrap();
        assert!(!report.table().contains("passed,"));
    }
}
