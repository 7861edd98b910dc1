//! System calls that no step needs and that attacks on the kernel start from.
//!
//! This is a second wall: the namespaces and the empty capability sets already deny most of these.
//! It is a deny list, as in Docker's and Podman's default profiles, because recipes run whatever
//! a release needs.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

/// Whether AF_UNIX sockets may be made. In a network namespace of its own they reach nobody; in
/// the host's, abstract sockets reach the host's daemons, which would trust our user id
/// (CVE-2020-15257).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnixSockets {
    /// The network namespace is our own.
    Allowed,
    /// The network namespace is the host's.
    Denied,
}

/// Linux, asm-generic/ioctls.h; the libc crate gives them another type for each C library.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// The programs to install, in this order; each narrows the ones before it.
pub fn programs(unix_sockets: UnixSockets) -> Result<Vec<BpfProgram>, BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let denied = SeccompFilter::new(
        denied_rules(unix_sockets)?,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        architecture,
    )?;
    // ENOSYS makes the C library fall back to clone(), whose flags a filter can see.
    let absent = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        architecture,
    )?;
    let mut programs = vec![denied.try_into()?, absent.try_into()?];
    if cfg!(target_arch = "x86_64") {
        programs.push(no_x32());
    }
    Ok(programs)
}

/// The x32 ABI shares the architecture number of x86-64 and would reach every denied call under
/// another number.
fn no_x32() -> BpfProgram {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_GREATER_OR_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const X32_SYSCALL_BIT: u32 = 0x4000_0000;
    vec![
        // The number is the first word of struct seccomp_data.
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_GREATER_OR_EQUAL, jt: 0, jf: 1, k: X32_SYSCALL_BIT },
        sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

fn denied_rules(
    unix_sockets: UnixSockets,
) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|number| (*number, vec![])).collect();
    rules.insert(libc::SYS_clone, namespace_rules()?);
    rules.insert(libc::SYS_socket, socket_rules(unix_sockets)?);
    // TIOCSTI and TIOCLINUX type into a terminal.
    rules.insert(
        libc::SYS_ioctl,
        vec![
            SeccompRule::new(vec![equal(1, TIOCSTI)?])?,
            SeccompRule::new(vec![equal(1, TIOCLINUX)?])?,
        ],
    );
    Ok(rules)
}

fn namespace_rules() -> Result<Vec<SeccompRule>, BackendError> {
    let flags = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    flags.into_iter().map(|flag| SeccompRule::new(vec![masked(0, flag as u64)?])).collect()
}

/// Only the plain families, and no raw packets.
fn socket_rules(unix_sockets: UnixSockets) -> Result<Vec<SeccompRule>, BackendError> {
    let mut families = vec![libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    if unix_sockets == UnixSockets::Allowed {
        families.push(libc::AF_UNIX);
    }
    let other_family =
        families.iter().map(|family| differs(0, *family as u64)).collect::<Result<Vec<_>, _>>()?;
    let mut rules = vec![SeccompRule::new(other_family)?];
    // Name resolution opens netlink sockets as SOCK_RAW; only those of IP see packets.
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_RAW, SOCK_PACKET] {
            let kind_only = SeccompCondition::new(
                1,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::MaskedEq(0xf),
                kind as u64,
            )?;
            rules.push(SeccompRule::new(vec![equal(0, family as u64)?, kind_only])?);
        }
    }
    Ok(rules)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, bit: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bit), bit)
}

/// Obsolete since Linux 2.2, and still there.
const SOCK_PACKET: i32 = 10;

const DENIED: &[i64] = &[
    // Mounts, in both interfaces, and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Namespaces; clone() is judged by its flags.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Large or privileged parts of the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_fanotify_init,
    libc::SYS_nfsservctl,
    libc::SYS_personality,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_vmsplice,
    // The machine's clock and names.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_compiles() {
        for unix_sockets in [UnixSockets::Allowed, UnixSockets::Denied] {
            let programs = programs(unix_sockets).unwrap();
            // The kernel takes at most 4096 instructions.
            assert!(programs.iter().all(|program| (1..4096).contains(&program.len())));
        }
    }
}
