//! A compiled model as a program of its own, built by the C compiler of the machine: for tests of what is linked without
//! Egret, and as an example of a caller.

use super::{Compiled, header, runtime};
use egret_ir::{Error, Result, Tensor, Value};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Source of a program whose arguments are the weights file, one file for each input and one for each output, elements in
/// row-major order. Its exit code is 0, what the run returns (see [`Compiled::checks`]), 100 for wrong arguments, 101 to 103
/// for weights that do not load, or 110 and 111 for files that cannot be read or written.
pub fn source(c: &Compiled) -> String {
    let name = &c.name;
    let upper = name.to_uppercase();
    let sizes = |kind: &str, n: usize| {
        let all: Vec<String> = (0..n).map(|i| format!("{upper}_{kind}_{i}_BYTES")).chain(["0".into()]).collect();
        all.join(", ")
    };
    format!(
        r#"#include "{name}.h"

static const size_t input_bytes[] = {{{}}};
static const size_t output_bytes[] = {{{}}};

int main(int argc, char **argv) {{
    {name}_model model;
    const void *inputs[{upper}_N_INPUTS + 1];
    void *outputs[{upper}_N_OUTPUTS + 1];
    int i, end, turn;
    if (argc != 2 + {upper}_N_INPUTS + {upper}_N_OUTPUTS) return 100;
    end = {name}_load(argv[1], &model);
    if (end != {upper}_OK) return 100 + end;
    for (i = 0; i < {upper}_N_INPUTS; i++) {{
        FILE *file = fopen(argv[2 + i], "rb");
        void *memory = malloc(input_bytes[i] + 1);
        if (file == NULL || fread(memory, 1, input_bytes[i] + 1, file) != input_bytes[i]) return 110;
        fclose(file);
        inputs[i] = memory;
    }}
    for (i = 0; i < {upper}_N_OUTPUTS; i++) outputs[i] = malloc(output_bytes[i] + 1);
    /* Twice, with rubbish in the arena: nothing is carried over. */
    for (turn = 0; turn < 2; turn++) {{
        size_t arena_bytes = {upper}_ARENA_BYTES;
        memset(model.arena, 0xA5, arena_bytes);
        end = {name}_run(model.weights, model.arena, inputs, outputs);
        if (end != 0) return end;
    }}
    for (i = 0; i < {upper}_N_OUTPUTS; i++) {{
        FILE *file = fopen(argv[2 + {upper}_N_INPUTS + i], "wb");
        if (file == NULL || fwrite(outputs[i], 1, output_bytes[i], file) != output_bytes[i]) return 111;
        fclose(file);
        free(outputs[i]);
    }}
    for (i = 0; i < {upper}_N_INPUTS; i++) free((void *)inputs[i]);
    {name}_free(&model);
    return 0;
}}
"#,
        sizes("INPUT", c.inputs.len()),
        sizes("OUTPUT", c.outputs.len()),
    )
}

/// Writes the model and the program into a folder and has `cc` build it there, warnings being errors.
///
/// # Errors
/// When a file cannot be written, there is no C compiler, it refuses something, or there is no runtime library for the target.
pub fn link(c: &Compiled, folder: &Path) -> Result<PathBuf> {
    write(folder, &format!("{}.o", c.name), &c.object)?;
    write(folder, &format!("{}.h", c.name), header::text(c).as_bytes())?;
    write(folder, &weights(c), &c.weights)?;
    write(folder, "main.c", source(c).as_bytes())?;
    let mut cc = Command::new("cc");
    cc.current_dir(folder).args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-o", "program", "main.c"]);
    cc.arg(format!("{}.o", c.name));
    if !c.runtime.is_empty() {
        let library = runtime::library(&c.target);
        let library = library.ok_or_else(|| Error::unsupported(format!("no runtime library for {}", c.target)))?;
        write(folder, runtime::LIBRARY_NAME, library)?;
        cc.args([runtime::LIBRARY_NAME, "-lm"]);
    }
    let output = cc.output().map_err(|e| Error::unsupported(format!("no C compiler: {e}")).at("cc"))?;
    if !output.status.success() {
        return Err(Error::invalid(String::from_utf8_lossy(&output.stderr).into_owned()).at("cc"));
    }
    Ok(folder.join("program"))
}

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// With outputs.
    Done(Vec<Value>),
    /// With this exit code, see [`source`].
    Code(i32),
    /// By a signal, or in another way that has no code.
    Died(String),
    /// It was still running after the time it was given.
    Late,
}

/// Runs the program that [`link`] built in a folder, in a process without environment.
///
/// # Errors
/// When a file cannot be written or read, or the process does not start.
pub fn run(c: &Compiled, folder: &Path, inputs: &[Value], time: Duration) -> Result<Ended> {
    let mut program = Command::new(folder.join("program"));
    program.current_dir(folder).env_clear().arg(weights(c)).stdin(Stdio::null());
    for (i, v) in inputs.iter().enumerate() {
        let file = format!("input_{i}");
        write(folder, &file, v.tensor()?.bytes())?;
        program.arg(file);
    }
    program.args((0..c.outputs.len()).map(|i| format!("output_{i}")));
    let io = |e: std::io::Error| Error::invalid(e.to_string()).at("program");
    let mut child = program.spawn().map_err(io)?;
    let deadline = Instant::now() + time;
    let status = loop {
        match child.try_wait().map_err(io)? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().and_then(|()| child.wait()).map_err(io)?;
                return Ok(Ended::Late);
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    match status.code() {
        Some(0) => {}
        Some(code) => return Ok(Ended::Code(code)),
        None => return Ok(Ended::Died(status.to_string())),
    }
    let read = |(i, p): (usize, &super::Port)| {
        let file = format!("output_{i}");
        let bytes = std::fs::read(folder.join(&file)).map_err(|e| Error::invalid(e.to_string()).at(file))?;
        Ok(Tensor::from_bytes(p.dtype, &p.shape, bytes.into())?.into())
    };
    c.outputs.iter().enumerate().map(read).collect::<Result<_>>().map(Ended::Done)
}

fn weights(c: &Compiled) -> String {
    format!("{}.weights", c.name)
}

fn write(folder: &Path, file: &str, content: &[u8]) -> Result<()> {
    std::fs::write(folder.join(file), content).map_err(|e| Error::invalid(e.to_string()).at(file))
}
