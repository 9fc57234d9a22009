//! Where a probe on a Go function is cheap: at an instruction of its beginning that the kernel acts out by itself.
//!
//! A probe replaces an instruction by a trap. Jumps and pushes are acted out in the trap; everything else is run aside and
//! traps once more, which costs some thirty times as much here (15 us against 0.5 us on a virtual machine).
//!
//! Nearly every Go function begins with a look at how much stack is left, and the conditional jump of that look is such an
//! instruction. It is taken when the stack is too small; then the function is entered again with a larger one. So who counts
//! calls leaves out jumps that are taken, and counts each call once. Functions that run on a thread's own stack, which cannot
//! grow, look at another limit since Go 1.24: the program ends when they jump. Functions that do not look begin by pushing the frame
//! pointer, since Go 1.21.
//!
//! Not here: other processors than x86-64, and other beginnings: there is no site then.
//! Source: the Go source tree, `cmd/internal/obj/x86/obj6.go`; Linux, `arch/x86/kernel/uprobes.c`.

use crate::{elf::Elf, functions::Function, read_at::ReadAt};

/// Bytes of the longest beginning that is understood.
const BEGINNING_BYTES: u64 = 24;

/// Where a probe is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSite {
    /// As the file has it.
    pub address: u64,
    /// What stands there.
    pub instruction: SiteInstruction,
}

/// An instruction that the kernel acts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteInstruction {
    /// Each call passes it once.
    Push,
    /// Jumps when below or equal (the carry or the zero flag is set): a call that finds too little stack jumps, and comes
    /// again. The one that does not jump is the call.
    StackCheck,
}

/// The site of a function.
pub(crate) fn probe_site(function: &Function<'_>, elf: &Elf, source: &impl ReadAt) -> Option<ProbeSite> {
    let len = BEGINNING_BYTES.min(function.end.checked_sub(function.start)?);
    let code = elf.copy(source, function.start, len)?;
    let (at, instruction) = site(&code)?;
    let address = function.start.checked_add(at as u64)?;
    let is_within = |target: u64| (function.start..function.end).contains(&target);
    let is_sound = instruction == SiteInstruction::Push || is_within(target(code.get(at..)?, address)?);
    is_sound.then_some(ProbeSite { address, instruction })
}

/// How far into the code it is.
fn site(code: &[u8]) -> Option<(usize, SiteInstruction)> {
    /// `cmp 0x10(%r14),%rsp`: frames that are small.
    const SMALL: &[u8] = &[0x49, 0x3b, 0x66];
    /// `cmp 0x10(%r14),%r12`, behind `lea -N(%rsp),%r12` with a distance of one byte or of four.
    const LARGE: &[u8] = &[0x4d, 0x3b, 0x66];
    /// Limits of a goroutine's stack, and, at 0x18, of a thread's.
    const LIMITS: [u8; 2] = [0x10, 0x18];
    const PUSH_FRAME_POINTER: u8 = 0x55;
    if code.first() == Some(&PUSH_FRAME_POINTER) {
        return Some((0, SiteInstruction::Push));
    }
    let limit_at = match code {
        [0x4c, 0x8d, 0x64, 0x24, _, rest @ ..] if rest.starts_with(LARGE) => 5 + LARGE.len(),
        [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, rest @ ..] if rest.starts_with(LARGE) => 8 + LARGE.len(),
        _ if code.starts_with(SMALL) => SMALL.len(),
        _ => return None,
    };
    let looked = limit_at + 1;
    if !LIMITS.contains(code.get(limit_at)?) {
        return None;
    }
    matches!(code.get(looked..)?, [0x76, ..] | [0x0f, 0x86, ..]).then_some((looked, SiteInstruction::StackCheck))
}

/// Where a conditional jump leads.
fn target(jump: &[u8], address: u64) -> Option<u64> {
    let (len, distance) = match *jump {
        [0x76, near, ..] => (2, i64::from(near.cast_signed())),
        [0x0f, 0x86, a, b, c, d, ..] => (6, i64::from(i32::from_le_bytes([a, b, c, d]))),
        _ => return None,
    };
    address.checked_add(len)?.checked_add_signed(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_that_go_has_are_understood() {
        let small = [0x49, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x60, 0x02, 0, 0, 0x48];
        assert_eq!(site(&small), Some((4, SiteInstruction::StackCheck)));
        let near = [0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x20];
        assert_eq!(site(&near), Some((9, SiteInstruction::StackCheck)));
        let far =
            [0x4c, 0x8d, 0xa4, 0x24, 0xd0, 0xfe, 0xff, 0xff, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x7a, 0x0c, 0, 0];
        assert_eq!(site(&far), Some((12, SiteInstruction::StackCheck)));
        let of_thread = [0x4c, 0x8d, 0x64, 0x24, 0xd8, 0x4d, 0x3b, 0x66, 0x18, 0x0f, 0x86, 8, 5, 0, 0];
        assert_eq!(site(&of_thread), Some((9, SiteInstruction::StackCheck)));
        assert_eq!(site(&[0x49, 0x3b, 0x66, 0x18, 0x76, 1]), Some((4, SiteInstruction::StackCheck)));
        assert_eq!(site(&[0x55, 0x48, 0x89, 0xe5]), Some((0, SiteInstruction::Push)));
    }

    #[test]
    fn other_beginnings_have_no_site() {
        // The comparison alone, cut off, with something else, with another jump behind it, a plain move, and nothing.
        for code in [
            &[0x49, 0x3b, 0x66, 0x10][..],
            &[0x49, 0x3b, 0x66],
            &[0x49, 0x3b, 0x66, 0x20, 0x76, 1],
            &[0x49, 0x3b, 0x66, 0x10, 0x77, 1],
            &[0x48, 0x89, 0xe5],
            &[],
        ] {
            assert_eq!(site(code), None, "{code:x?}");
        }
    }

    #[test]
    fn jumps_lead_where_they_say() {
        assert_eq!(target(&[0x76, 0x20], 0x100), Some(0x122));
        assert_eq!(target(&[0x76, 0xfe], 0x100), Some(0x100));
        assert_eq!(target(&[0x0f, 0x86, 0x10, 0, 0, 0], 0x100), Some(0x116));
        assert_eq!(target(&[0x0f, 0x86], 0x100), None, "cut off");
    }
}
