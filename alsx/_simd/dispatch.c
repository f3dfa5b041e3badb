/* Which instruction set runs here: cpuid for the processor, xgetbv for what the operating system saves. */
#include "kernels.h"

#ifdef ALSX_X86
#ifdef _MSC_VER
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned r[4]) { __cpuidex((int *)r, (int)leaf, (int)sub); }
static unsigned xcr0(void) { return (unsigned)_xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned r[4]) { __cpuid_count(leaf, sub, r[0], r[1], r[2], r[3]); }
static unsigned xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}
#endif

static int has(unsigned word, unsigned bits) { return (word & bits) == bits; }

int alsx_best_level(void) {
    unsigned r[4], c1, b7;
    cpuid(0, 0, r);
    if (r[0] < 7) return 0;
    cpuid(1, 0, r);
    c1 = r[2];
    /* FMA, MOVBE, OSXSAVE, AVX, F16C; the system saves xmm and ymm */
    if (!has(c1, 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29) || !has(xcr0(), 0x6)) return 0;
    cpuid(7, 0, r);
    b7 = r[1];
    if (!has(b7, 1u << 3 | 1u << 5 | 1u << 8)) return 0; /* BMI1, AVX2, BMI2 */
    cpuid(0x80000001u, 0, r);
    if (!has(r[2], 1u << 5)) return 0; /* LZCNT */
    /* AVX-512 F, DQ, CD, BW, VL; the system saves opmask and zmm */
    if (has(b7, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31) && has(xcr0(), 0xe6)) return 4;
    return 3;
}

const alsx_ops *alsx_level_ops(int level) {
    return level >= 4 ? &alsx_ops_v4 : level == 3 ? &alsx_ops_v3 : &alsx_ops_base;
}
#else
int alsx_best_level(void) { return 0; }
const alsx_ops *alsx_level_ops(int level) {
    (void)level;
    return &alsx_ops_base;
}
#endif
