//! Writes `ir/src/onnx/proto.rs` from the `.proto` files beside it, with `protox` (a protobuf compiler in Rust, so that
//! no `protoc` is needed) and `prost-build`.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const HEADER: &str = "\
// Made by `cargo run --manifest-path ir/src/onnx/gen/Cargo.toml` from onnx.proto and onnx-data.proto (onnx 1.23.2),
// which hold the documentation of every field. Not edited by hand.
// SPDX-License-Identifier: Apache-2.0

";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = protox::compile(["onnx.proto", "onnx-data.proto"], [&folder])?;
    let out = tempfolder()?;
    prost_build::Config::new()
        .bytes(["."])
        .disable_comments(["."])
        .out_dir(&out)
        .compile_fds(files)?;
    let code = fs::read_to_string(out.join("onnx.rs"))?;
    fs::write(folder.join("proto.rs"), format!("{HEADER}{code}"))?;
    fs::remove_dir_all(out)?;
    Ok(())
}

fn tempfolder() -> Result<std::path::PathBuf, std::io::Error> {
    let folder = env::temp_dir().join(format!("egret-onnx-gen-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
