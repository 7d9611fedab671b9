//! libFuzzer's bytes as a file of inferred rules; see `egret_fuzz::surface::rules`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(finding) = egret_fuzz::surface::rules(bytes) {
        panic!("{finding}");
    }
});
