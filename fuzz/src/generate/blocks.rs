//! Blocks as networks have them: a convolution or a product with constant weights, its normalisation and activation, a sum with
//! another branch. Compilers fuse these, and may do so only where nobody else reads what lies between.

use super::growing::Growing;
use super::{Bounds, Generator, Refused};
use crate::choices::{Choices, pick};
use egret_ir::{Attrs, DType, Tensor, ValueId, attrs};

/// Attempts to insert one such block.
const ATTEMPTS: usize = 8;

/// A block in the making.
struct Block<'a> {
    growing: &'a mut Growing,
    bounds: Bounds<'a>,
    choices: &'a mut dyn Choices,
}

impl Block<'_> {
    fn call(&mut self, name: &str, attrs: &Attrs, inputs: &[ValueId]) -> Result<ValueId, Refused> {
        self.growing.one(name, attrs, inputs, self.bounds)
    }

    fn shape(&self, v: ValueId) -> Vec<usize> {
        self.growing.values[v.index()].tensor().map(|t| t.shape().to_vec()).unwrap_or_default()
    }

    /// Constants, mostly; weights that are arguments now and then.
    fn weights(&mut self, shape: &[usize], positive: bool) -> ValueId {
        let n = shape.iter().product();
        let one = |u: f64| if positive { 0.25 + u } else { 2.0 * u - 1.0 };
        let x: Vec<f64> = (0..n).map(|_| one(self.choices.unit())).collect();
        let t = Tensor::from_floats(DType::F32, shape, x);
        if self.choices.chance(7, 8) { self.growing.constant(t) } else { self.growing.argument(t.into()) }
    }

    /// A convolution of `x`, of one window of a few.
    fn convolution(&mut self, x: ValueId, channels: usize) -> Result<ValueId, Refused> {
        let shape = self.shape(x);
        let (c, axes) = (shape[1], shape.len() - 2);
        let depthwise = c > 1 && channels == c && self.choices.chance(1, 3);
        let k = *pick(self.choices, &[1usize, 3, 3]);
        let mut of = vec![channels, if depthwise { 1 } else { c }];
        of.extend(vec![k; axes]);
        let mut inputs = vec![x, self.weights(&of, false)];
        if self.choices.chance(1, 2) {
            inputs.push(self.weights(&[channels], false));
        }
        let mut with = attrs! { pads: vec![(k / 2) as i64; 2 * axes] };
        if depthwise {
            with.extend(attrs! { group: c as i64 });
        }
        self.call("Conv", &with, &inputs)
    }

    fn normalised(&mut self, y: ValueId) -> Result<ValueId, Refused> {
        let c = [self.shape(y)[1]];
        let inputs = [false, false, false, true].map(|positive| self.weights(&c, positive));
        self.call("BatchNormalization", &attrs! {}, &[&[y][..], &inputs[..]].concat())
    }

    fn activated(&mut self, y: ValueId) -> Result<ValueId, Refused> {
        let name =
            *pick(self.choices, &["Relu", "Relu", "LeakyRelu", "Sigmoid", "HardSwish", "Tanh", "Gelu", "Identity"]);
        self.call(name, &attrs! {}, &[y])
    }

    /// Something else that reads a value inside of the block.
    fn read_elsewhere(&mut self, v: ValueId) -> Result<(), Refused> {
        if self.choices.chance(1, 3) {
            let name = *pick(self.choices, &["Neg", "Identity", "GlobalAveragePool", "Exp"]);
            self.call(name, &attrs! {}, &[v])?;
        }
        Ok(())
    }

    /// Convolution, normalisation, activation; the result may be added to the operand or to another convolution of it.
    fn of_convolutions(&mut self, x: ValueId) -> Result<(), Refused> {
        let c = self.shape(x)[1];
        let channels = *pick(self.choices, &[c, c, 1, 3, 4, 8]);
        let mut y = self.convolution(x, channels)?;
        self.read_elsewhere(y)?;
        if self.choices.chance(2, 3) {
            y = self.normalised(y)?;
            self.read_elsewhere(y)?;
        }
        let before = self.choices.chance(1, 2);
        if before {
            y = self.activated(y)?;
        }
        let other = match self.choices.below(3) {
            0 if channels == c => x,
            0 | 1 => {
                let mut other = self.convolution(x, channels)?;
                if self.choices.chance(1, 3) {
                    other = self.normalised(other)?;
                }
                self.read_elsewhere(other)?;
                other
            }
            _ => return if before { Ok(()) } else { self.activated(y).map(|_| ()) },
        };
        let pair = if self.choices.chance(1, 2) { [y, other] } else { [other, y] };
        let sum = self.call("Add", &attrs! {}, &pair)?;
        self.read_elsewhere(sum)?;
        if self.choices.chance(1, 2) {
            self.activated(sum)?;
        }
        Ok(())
    }

    /// A product with weights, a bias, an activation; perhaps a normalisation behind it.
    fn of_products(&mut self, x: ValueId) -> Result<(), Refused> {
        let k = *self.shape(x).last().ok_or(Refused::Quietly)?;
        let n = *pick(self.choices, &[k, 1, 4, 8, 17]);
        let (w, bias) = (self.weights(&[k, n], false), self.weights(&[n], false));
        let y = self.call("MatMul", &attrs! {}, &[x, w])?;
        self.read_elsewhere(y)?;
        let pair = if self.choices.chance(1, 2) { [y, bias] } else { [bias, y] };
        let y = self.call("Add", &attrs! {}, &pair)?;
        let y = self.activated(y)?;
        if n == k && self.choices.chance(1, 2) {
            let sum = self.call("Add", &attrs! {}, &[y, x])?;
            let scale = self.weights(&[n], false);
            self.call("LayerNormalization", &attrs! {}, &[sum, scale])?;
        }
        Ok(())
    }
}

impl Generator {
    /// Inserts a block.
    pub(super) fn insert_block(&mut self, growing: &mut Growing, choices: &mut dyn Choices) -> bool {
        self.attempted(growing, ATTEMPTS, |this, after| {
            let convolves = choices.chance(2, 3);
            let x = after.floats(if convolves { 3 } else { 2 }, choices);
            let mut block = Block { growing: after, bounds: this.bounds(), choices };
            if convolves { block.of_convolutions(x) } else { block.of_products(x) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Egret, System};
    use crate::choices::Seeded;
    use crate::generate::{Case, Config};
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::verify::verify;

    fn cases(seed: u64, n: u64) -> Vec<Case> {
        let only = vec!["Relu".into()];
        let config = Config { blocks_percent: 60, only, special: false, ..Config::default() };
        let mut generator = Generator::new(config);
        let made = (0..n).map(|i| generator.generate(&mut Seeded::new(seed, i)).unwrap()).collect();
        assert!(generator.bugs.is_empty(), "{:?}", generator.bugs.iter().map(|b| &b.2).collect::<Vec<_>>());
        made
    }

    #[test]
    fn blocks_are_valid_and_values_inside_are_read_twice() {
        let (mut normalised, mut twice) = (0, 0);
        for case in cases(1, 60) {
            let text = egret_ir::text::print(&case.graph);
            assert!(verify(&case.graph).is_empty(), "{text}");
            let got = evaluate(&case.graph, case.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{:?}", case.outputs), "{text}");
            let consumers = case.graph.consumers();
            for node in &case.graph.nodes {
                normalised += usize::from(node.op.def().name == "BatchNormalization");
                let read = node.defs().any(|v| consumers[v.index()].len() > 1);
                twice += usize::from(node.op.def().name == "Conv" && read);
            }
        }
        assert!(normalised > 10 && twice > 5, "{normalised} {twice}");
    }

    #[test]
    fn egret_agrees_with_its_reference_on_blocks() {
        for case in cases(2, 20) {
            let found = Egret::default().check(&case).unwrap();
            assert!(found.is_none(), "{found:?}\n{}", egret_ir::text::print(&case.graph));
        }
    }
}
