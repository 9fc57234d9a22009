/* The few types and numbers of the kernel that our programs touch, written by hand in place of a generated vmlinux.h.
 *
 * Structures marked with preserve_access_index name only the fields that are read; where a field really is in the
 * running kernel is filled in when the program is loaded (CO-RE). */
#pragma once

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;
typedef _Bool bool;
#define true 1
#define false 0

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};

enum {
	BPF_F_NO_PREALLOC = 1,
	BPF_F_USER_STACK = 256,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_RING_SIZE = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};

#if defined(__TARGET_ARCH_arm64)
struct pt_regs {
	u64 regs[31];
	u64 sp;
	u64 pc;
	int syscallno;
} __attribute__((preserve_access_index));
#define SYSCALL_NUMBER(r) ((r)->syscallno)
#define SYSCALL_SECOND(r) ((r)->regs[1])
#define SYSCALL_THIRD(r) ((r)->regs[2])
#define REGISTER_IP(r) ((r)->pc)
#define REGISTER_SP(r) ((r)->sp)
#define REGISTER_FP(r) ((r)->regs[29])
#define REGISTER_LR(r) ((r)->regs[30])
/* An instruction of the other processor. */
#define JUMPS_IF_BELOW_OR_EQUAL(r) ((void)(r), false)
#else
struct pt_regs {
	unsigned long bp;
	unsigned long ip;
	unsigned long flags;
	unsigned long sp;
	unsigned long dx;
	unsigned long si;
	unsigned long orig_ax;
} __attribute__((preserve_access_index));
#define SYSCALL_NUMBER(r) ((r)->orig_ax)
#define SYSCALL_SECOND(r) ((r)->si)
#define SYSCALL_THIRD(r) ((r)->dx)
#define REGISTER_IP(r) ((r)->ip)
#define REGISTER_SP(r) ((r)->sp)
#define REGISTER_FP(r) ((r)->bp)
#define REGISTER_LR(r) ((r)->ip)
/* Whether a jump if below or equal is taken: the carry or the zero flag is set. */
#define JUMPS_IF_BELOW_OR_EQUAL(r) ((r)->flags & 0x41)
#endif

struct task_struct {
	unsigned int __state; /* 0 when it runs or could. */
	int pid;
	int tgid;
	u32 self_exec_id;   /* Counts the programs that it has run. */
	u64 start_boottime; /* In nanoseconds. */
	struct task_struct *group_leader;
} __attribute__((preserve_access_index));

struct ns_common {
	unsigned int inum; /* As /proc/PID/ns names it. */
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct sock_common {
	u16 skc_family;
	u16 skc_num; /* The local port. */
	possible_net_t skc_net;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	int sk_err; /* What went wrong with it: the other side has broken it off, or is not heard of any more. */
} __attribute__((preserve_access_index));

struct tcp_sock {
	u32 segs_out;
	u32 srtt_us;
} __attribute__((preserve_access_index));
