//! Progress of long work, on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar of `n` steps.
pub(super) fn bar(n: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}").expect("the template is valid");
    ProgressBar::new(n as u64).with_style(style)
}

/// What is going on, with the time since it began; work of less than a quarter second shows nothing.
pub(super) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is valid");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Does something while [`spinner`] says what.
pub(super) fn during<T>(what: &'static str, f: impl FnOnce() -> T) -> T {
    let bar = spinner();
    bar.set_message(what);
    let done = f();
    bar.finish_and_clear();
    done
}
