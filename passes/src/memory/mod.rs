//! Buffers into one arena. Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
//! Inference", 2020): largest first, each into the lowest gap that is free over its whole life.

use egret_ir::plan::{Buffer, Placement};

/// A cache line, and the widest vector.
const ALIGN_BYTES: usize = 64;

/// Places buffers greedily by size. Cost: quadratic in buffers that live together.
pub fn place_by_size(buffers: &[Buffer]) -> Placement {
    let size = |b: &Buffer| b.size_bytes.next_multiple_of(ALIGN_BYTES);
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].size_bytes), buffers[i].first, i));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut arena_bytes = 0;
    for &i in &order {
        let b = &buffers[i];
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .map(|&j| (&buffers[j], offsets[j]))
            .filter(|(o, _)| o.first <= b.last && b.first <= o.last)
            .map(|(o, at)| (at, at + size(o)))
            .collect();
        busy.sort_unstable();
        let mut at = 0;
        for (start, end) in busy {
            if start >= at + size(b) {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        arena_bytes = arena_bytes.max(at + size(b));
        if b.size_bytes > 0 {
            placed.push(i);
        }
    }
    Placement { offsets, arena_bytes, bound_bytes: bound(buffers, size) }
}

fn bound(buffers: &[Buffer], size: impl Fn(&Buffer) -> usize) -> usize {
    let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(buffers.len() * 2);
    for b in buffers {
        events.push((b.first, true, size(b)));
        events.push((b.last + 1, false, size(b)));
    }
    // Ends (`false`) of a step come before its starts.
    events.sort_unstable();
    let (mut live, mut most) = (0usize, 0);
    for (_, starts, bytes) in events {
        live = if starts { live + bytes } else { live - bytes };
        most = most.max(live);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_buffers_never_overlap_and_dead_ones_share() {
        let mut seed = 1u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        let buffers: Vec<Buffer> = (0..200)
            .map(|_| {
                let first = next(50) as usize;
                Buffer { size_bytes: next(1000) as usize, first, last: first + next(8) as usize }
            })
            .collect();
        let p = place_by_size(&buffers);
        assert!(p.arena_bytes >= p.bound_bytes && p.arena_bytes <= 2 * p.bound_bytes);
        for (i, a) in buffers.iter().enumerate() {
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                if a.first <= b.last && b.first <= a.last {
                    let (x, y) = (p.offsets[i], p.offsets[j]);
                    assert!(x + a.size_bytes <= y || y + b.size_bytes <= x || a.size_bytes * b.size_bytes == 0);
                }
            }
        }
    }
}
