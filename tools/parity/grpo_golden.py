#!/usr/bin/env python3
"""Golden vectors for grpo/: python3 tools/parity/grpo_golden.py > tests/unit/grpo_golden.h

Written from the papers and from the formulas of other programs (docs/grpo.md), not from our C: losses as plain sums, derivatives by complex
steps (exact to rounding, no step size), deviations from the statistics module. Standard library only; Python 3.9 or later.
"""
import cmath
import math
import statistics
import struct

f32 = lambda x: struct.unpack("f", struct.pack("f", x))[0]


# ---- advantages as other programs compute them ------------------------------------------------


def around_mean(ddof, eps):
    def f(r):
        m = statistics.fmean(r)
        sd = statistics.stdev(r) if ddof else statistics.pstdev(r)
        return [(x - m) / (sd + eps) for x in r]
    return f


def inside_root(eps):
    def f(r):
        m = statistics.fmean(r)
        return [(x - m) / math.sqrt(statistics.pvariance(r) + eps) for x in r]
    return f


def centred(r):
    m = statistics.fmean(r)
    return [x - m for x in r]


def leave_one_out(r):
    return [x - (sum(r) - x) / (len(r) - 1) for x in r]


def nemo(eps):
    def f(r):
        out = []
        for i, x in enumerate(r):
            o = r[:i] + r[i + 1:]
            sd = statistics.stdev(o)
            a = x - statistics.fmean(o)
            out.append(a / (sd + eps) if sd > 0 else a)
        return out
    return f


IMPLEMENTATIONS = [  # name, function
    ("trl", around_mean(1, 1e-4)),
    ("verl", around_mean(1, 1e-6)),
    ("openrlhf", around_mean(1, 1e-9)),
    ("slime", around_mean(1, 1e-6)),
    ("oat", around_mean(1, 1e-8)),
    ("open_instruct", around_mean(0, 1e-8)),
    ("grpo_zero", around_mean(0, 1e-4)),
    ("rl_cu", inside_root(1e-8)),
    ("titan", around_mean(0, 1e-6)),
    ("areal", around_mean(1, 1e-5)),
    ("nemo", nemo(1e-6)),
    ("prime", centred),
    ("rloo", leave_one_out),
]
GROUPS = [
    [1, 0, 0, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0, 0],
    [0.5001, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    [0.3, -1.25, 2.0, 0.7, 0.7, -0.1, 1.5, 0.05],
]


# ---- losses: six sequences of two prompts -------------------------------------------------------

def draws():
    """An LCG, so that the inputs need no library."""
    s = 12345
    while True:
        s = (1103515245 * s + 12345) % 2**31
        yield s / 2**31


LENGTHS = [5, 3, 7, 4, 1, 6]
REWARDS = [1.0, 0.0, 0.0, 0.25, 1.0, 0.5]
d = draws()
OLD = [[f32(-3 * next(d) - 0.01) for _ in range(n)] for n in LENGTHS]
NEW = [[f32(o + 1.2 * (next(d) - 0.5)) for o in seq] for seq in OLD]
REF = [[f32(o + 0.8 * (next(d) - 0.5)) for o in seq] for seq in OLD]
ENTROPY = [[f32(2 * next(d)) for _ in seq] for seq in OLD]
CONSTANT = 8.0  # the length that dr_grpo divides by


def clamp(x, lo, hi):
    """On the real part; a clamped value is a constant, as in torch."""
    return lo if x.real < lo else hi if x.real > hi else x


def surrogate(rho, a, lo, hi, dual=None):
    u, c = rho * a, clamp(rho, lo, hi) * a
    s = u if u.real <= c.real else c
    if dual and a < 0 and s.real < dual * a:
        s = dual * a
    return s


def kl(kind, d):
    return {"k1": d, "k2": d * d / 2, "k3": cmath.exp(-d) - 1 + d}[kind]


def mean_of_means(f, new):
    return sum(sum(f(i, t, new) for t in range(len(s))) / len(s) for i, s in enumerate(new)) / len(new)


def mean_of_tokens(f, new):
    return sum(f(i, t, new) for i, s in enumerate(new) for t in range(len(s))) / sum(LENGTHS)


def advantages(f, rewards):
    return f(rewards[:3]) + f(rewards[3:])


def deepseekmath(new):
    a = advantages(around_mean(0, 1e-8), REWARDS)
    return mean_of_means(lambda i, t, n: -surrogate(cmath.exp(n[i][t] - OLD[i][t]), a[i], 0.8, 1.2) + 0.04 * kl("k3", n[i][t] - REF[i][t]), new)


def dr_grpo(new):
    a = advantages(centred, REWARDS)
    total = sum(-surrogate(cmath.exp(new[i][t] - OLD[i][t]), a[i], 0.8, 1.2) for i, s in enumerate(new) for t in range(len(s)))
    return total / (len(new) * CONSTANT)


def dapo(new):
    a = advantages(around_mean(0, 1e-8), REWARDS)
    return mean_of_tokens(lambda i, t, n: -surrogate(cmath.exp(n[i][t] - OLD[i][t]), a[i], 0.8, 1.28), new)


def gspo(new):
    a = advantages(around_mean(0, 1e-8), REWARDS)
    total = 0
    for i, s in enumerate(new):
        ratio = cmath.exp(sum(s[t] - OLD[i][t] for t in range(len(s))) / len(s))
        total -= surrogate(ratio, a[i], 1 - 3e-4, 1 + 4e-4)
    return total / len(new)


def gspo_wide(new):
    """gspo with bounds that some of these sequences stay within."""
    a = advantages(around_mean(0, 1e-8), REWARDS)
    total = 0
    for i, s in enumerate(new):
        ratio = cmath.exp(sum(s[t] - OLD[i][t] for t in range(len(s))) / len(s))
        total -= surrogate(ratio, a[i], 0.9, 1.1)
    return total / len(new)


def cispo(new):
    a = advantages(around_mean(0, 1e-8), REWARDS)
    def term(i, t, n):
        weight = clamp(math.exp((n[i][t] - OLD[i][t]).real), 0, 1.28)  # real: stop-gradient
        return -weight * a[i] * n[i][t]
    return mean_of_tokens(term, new)


def rloo(new):
    penalised = [r - 0.05 * sum(o - q for o, q in zip(OLD[i], REF[i])) for i, r in enumerate(REWARDS)]
    a = advantages(leave_one_out, penalised)
    return sum(-a[i] * sum(s) for i, s in enumerate(new)) / len(new)


def hone(new):
    a = advantages(around_mean(0, 1e-4), REWARDS)
    return mean_of_tokens(lambda i, t, n: -surrogate(cmath.exp(n[i][t] - OLD[i][t]), a[i], 0.8, 1.28), new)


def everything(new):
    """No preset: dual clip, k2 in the loss, an entropy bonus, whole-sequence ratios summed."""
    a = advantages(around_mean(1, 1e-6), REWARDS)
    return mean_of_means(lambda i, t, n: -surrogate(cmath.exp(n[i][t] - OLD[i][t]), a[i], 0.7, 1.3, dual=1.4)
                         + 0.1 * kl("k2", n[i][t] - REF[i][t]) - 0.01 * ENTROPY[i][t], new)


def whole_sequence(new):
    a = advantages(leave_one_out, REWARDS)
    total = 0
    for i, s in enumerate(new):
        ratio = cmath.exp(sum(s[t] - OLD[i][t] for t in range(len(s))))
        total -= surrogate(ratio, a[i], 0.5, 1.5)
        total += 0.02 * sum(kl("k1", s[t] - REF[i][t]) for t in range(len(s)))
    return total / len(new)


LOSSES = [hone, deepseekmath, dr_grpo, dapo, gspo, cispo, rloo, gspo_wide, everything, whole_sequence]


def gradient(f):
    h = 1e-30
    out = []
    for i, s in enumerate(NEW):
        for t in range(len(s)):
            bumped = [[complex(x) for x in q] for q in NEW]
            bumped[i][t] += complex(0, h)
            out.append(complex(f(bumped)).imag / h)
    return out


def row(xs):
    return "{" + ", ".join(repr(float(x)) for x in xs) + "}"


def flat(xs):
    return [x for s in xs for x in s]


def main():
    print("/* Made by tools/parity/grpo_golden.py; do not edit. */")
    print("enum { GOLDEN_SEQS = %d, GOLDEN_TOKENS = %d, GOLDEN_GROUPS = %d };" % (len(LENGTHS), sum(LENGTHS), len(GROUPS)))
    print("static const int golden_lengths[] = {%s};" % ", ".join(map(str, LENGTHS)))
    print("static const double golden_rewards[] = %s;" % row(REWARDS))
    for name, v in (("new", NEW), ("old", OLD), ("ref", REF), ("entropy", ENTROPY)):
        print("static const double golden_%s[] = %s;" % (name, row(flat(v))))
    print("static const double golden_constant = %r;" % CONSTANT)
    print("static const double golden_group[][8] = {%s};" % ",\n    ".join(row(g) for g in GROUPS))
    print("static const struct golden_advantage {\n    const char *name;\n    double a[GOLDEN_GROUPS][8];\n} golden_advantages[] = {")
    for name, f in IMPLEMENTATIONS:
        print('    {"%s", {%s}},' % (name, ",\n     ".join(row(f(list(map(float, g)))) for g in GROUPS)))
    print("};\nstatic const struct golden_loss {\n    const char *name;\n    double loss, g[GOLDEN_TOKENS];\n} golden_losses[] = {")
    for f in LOSSES:
        print('    {"%s", %r, %s},' % (f.__name__, complex(f([[complex(x) for x in s] for s in NEW])).real, row(gradient(f))))
    print("};")


if __name__ == "__main__":
    main()
