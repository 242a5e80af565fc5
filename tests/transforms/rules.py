"""Optimizers as float64 NumPy loops over one leaf, written from their papers: the tests' oracles.

Each takes the parameter and all gradients and yields the parameter after each update.
"""

from itertools import count

import numpy as np


def steps(grads):
    return zip(count(1), grads, strict=False)


def at(value, t):
    """A hyperparameter at step t, from 1: a number or a function of the count."""
    return value(t - 1) if callable(value) else value


def sgd(p, grads, *, lr, momentum=0.0, dampening=0.0, nesterov=False, l2=0.0, wd=0.0):
    v = np.zeros_like(p)
    for t, g in steps(grads):
        rate, m = at(lr, t), at(momentum, t)
        g = (1 - dampening) * (g + l2 * p)
        v = m * v + g
        p = p - rate * wd * p - rate * (m * v + g if nesterov else v)
        yield p


def rmsprop(
    p, grads, *, lr, decay, eps, inside=True, centered=False, debias=False, momentum=0.0,
    nesterov=False, order="steps", wd=0.0, start=0.0,
):  # fmt: skip
    """`order`: momentum sums "steps" (Optax), "scaled" gradients (PyTorch) or "gradients"."""
    nu, mu, v = np.full_like(p, start), np.zeros_like(p), np.zeros_like(p)
    for t, g in steps(grads):
        rate, m = at(lr, t), at(momentum, t)
        nu = decay * nu + (1 - decay) * g**2
        mu = decay * mu + (1 - decay) * g
        c = 1 - decay**t if debias else 1.0
        s = nu / c - (mu / c) ** 2 * centered
        root = np.sqrt(s + eps) if inside else np.sqrt(s) + eps
        if order == "gradients":
            v = m * v + g
            p = p * (1 - rate * wd) - rate * v / root
        elif order == "scaled":
            v = m * v + g / root
            p = p * (1 - rate * wd) - rate * v
        else:
            step = rate * g / root
            v = m * v + step
            p = p * (1 - rate * wd) - (m * v + step if nesterov else v)
        yield p


def adam(
    p, grads, *, lr, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=False, wd=0.0, l2=0.0,
    amsgrad=None, belief=False, infinity=False, rectify=None, nus=None,
):  # fmt: skip
    mu, nu, top = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t, g in steps(grads):
        rate, beta = at(lr, t), at(b1, t)
        g = g + l2 * p
        mu = beta * mu + (1 - beta) * g
        if infinity:
            nu = np.maximum(b2 * nu, np.abs(g) + eps)
            p = p - rate * wd * p - rate * mu / (1 - beta**t) / nu
            yield p
            continue
        d = g - mu if belief else g
        nu = b2 * nu + (1 - b2) * d**2 + (eps_root if belief else 0)
        m_hat, v_hat = mu / (1 - beta**t), nu / (1 - b2**t)
        if nesterov:
            m_hat = beta * mu / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
        if amsgrad is not None:
            top = np.maximum(top, v_hat if amsgrad == "debiased" else nu)
            v_hat = top
            m_hat = m_hat if amsgrad == "debiased" else mu
        if nus is not None:
            m_hat = (1 - nus[0]) * g + nus[0] * m_hat
            v_hat = (1 - nus[1]) * g**2 + nus[1] * v_hat
        u = m_hat / (np.sqrt(v_hat + (0 if belief else eps_root)) + eps)
        if rectify is not None:
            rho_inf = 2 / (1 - b2) - 1
            rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
            if rho > rectify:
                top_, bottom = (rho - 4) * (rho - 2) * rho_inf, (rho_inf - 4) * (rho_inf - 2) * rho
                u = np.sqrt(top_ / bottom) * u
            else:
                u = m_hat
        p = p * (1 - rate * wd) - rate * u
        yield p


def ademamix(
    p, grads, *, lr, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8, eps_root=0.0, wd=0.0
):
    m1, m2, nu = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t, g in steps(grads):
        slow = at(b3, t)
        m1, m2 = b1 * m1 + (1 - b1) * g, slow * m2 + (1 - slow) * g
        nu = b2 * nu + (1 - b2) * g**2
        u = (m1 / (1 - b1**t) + at(alpha, t) * m2) / (np.sqrt(nu / (1 - b2**t) + eps_root) + eps)
        p = p - at(lr, t) * (u + wd * p)
        yield p


def adopt(
    p, grads, *, lr, b1=0.9, b2=0.9999, eps=1e-6, clip=lambda t: t**0.25, nesterov=False, wd=0.0
):
    m, nu = np.zeros_like(p), None
    for t, g in steps(grads):
        u = np.zeros_like(p)
        if nu is not None:
            bound = clip(t - 1)
            x = np.clip(g / np.maximum(np.sqrt(nu), eps), -bound, bound)
            m = b1 * m + (1 - b1) * x
            u = b1 * m + (1 - b1) * x if nesterov else m
        nu = g**2 if nu is None else b2 * nu + (1 - b2) * g**2
        p = p - at(lr, t) * (u + wd * p)
        yield p


def cautious(p, u, g, *, xi):
    agrees = u * g < 0
    return u * agrees * p.size / (agrees.sum() + xi)


def cautious_momentum(p, grads, *, lr, beta, xi):
    v = np.zeros_like(p)
    for _, g in steps(grads):
        v = beta * v + g
        p = p + cautious(p, -lr * v, g, xi=xi)
        yield p


def lion(p, grads, *, lr, b1, b2, wd):
    mu = np.zeros_like(p)
    for _, g in steps(grads):
        p = p - lr * (np.sign(b1 * mu + (1 - b1) * g) + wd * p)
        mu = b2 * mu + (1 - b2) * g
        yield p


def adagrad(p, grads, *, lr, start, eps, inside=True):
    total = np.full_like(p, start)
    for _, g in steps(grads):
        total = total + g**2
        p = p - lr * g / (np.sqrt(total + eps) if inside else np.sqrt(total) + eps)
        yield p


def adadelta(p, grads, *, lr, rho, eps, l2):
    e_g, e_x = np.zeros_like(p), np.zeros_like(p)
    for _, g in steps(grads):
        g = g + l2 * p
        e_g = rho * e_g + (1 - rho) * g**2
        u = np.sqrt(e_x + eps) / np.sqrt(e_g + eps) * g
        e_x = rho * e_x + (1 - rho) * u**2
        p = p - lr * u
        yield p


def signum(p, grads, *, lr, beta):
    m = np.zeros_like(p)
    for _, g in steps(grads):
        m = beta * m + (1 - beta) * g
        p = p - lr * np.sign(m)
        yield p


def trust(p, u, *, coefficient=1.0, eps=0.0, bound=np.inf):
    of_p, of_u = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(u**2))
    return 1.0 if of_p == 0 or of_u == 0 else min(coefficient * of_p / (of_u + eps), bound)


def lamb(p, grads, *, lr, b1=0.9, b2=0.999, eps=1e-6, wd=0.0, bound=np.inf):
    mu, nu = np.zeros_like(p), np.zeros_like(p)
    for t, g in steps(grads):
        mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        u = mu / (1 - b1**t) / (np.sqrt(nu / (1 - b2**t)) + eps) + wd * p
        p = p - lr * trust(p, u, bound=bound) * u
        yield p


def lars(p, grads, *, lr, momentum=0.9, coefficient=0.001, l2=0.0, nesterov=False):
    v = np.zeros_like(p)
    for t, g in steps(grads):
        g = g + l2 * p
        step = at(lr, t) * trust(p, g, coefficient=coefficient) * g
        v = momentum * v + step
        p = p - (momentum * v + step if nesterov else v)
        yield p


def larc(p, grads, *, lr, momentum=0.9, coefficient=0.02, eps=1e-8, clip=True, wd=0.0):
    v = np.zeros_like(p)
    for _, g in steps(grads):
        ratio = coefficient * np.sqrt(np.sum(p**2)) / (np.sqrt(np.sum(g**2)) + eps)
        v = momentum * v + (min(ratio, 1) if clip else ratio) * g
        p = p - lr * (v + wd * p)
        yield p


def lookahead(p, grads, *, lr, period, alpha):
    slow = p
    for t, g in steps(grads):
        p = p - lr * g
        if t % period == 0:
            slow = slow + alpha * (p - slow)
            p = slow
        yield p


def schedule_free(p, grads, *, lr, b1=0.9, power=2.0, wd=0.0, b2=None, eps=1e-8):
    """Yields y; x is the running average itself, not recovered from y and z."""
    x, z, nu, total, top = p, p, np.zeros_like(p), 0.0, 0.0
    for t, g in steps(grads):
        rate = at(lr, t)
        nu = g**2 if b2 is None else b2 * nu + (1 - b2) * g**2
        d = g if b2 is None else g / (np.sqrt(nu / (1 - b2**t)) + eps)
        y = b1 * x + (1 - b1) * z
        z = z - rate * (d + wd * y)
        top = max(top, rate)
        total += top**power
        c = top**power / total if total else 0.0
        x = (1 - c) * x + c * z
        yield b1 * x + (1 - b1) * z


def fastai_larc(p, grads, *, lr, momentum=0.9, coefficient=0.02, eps=1e-8, clip=True, wd=0.0):
    avg = np.zeros_like(p)
    for _, g in steps(grads):
        p = p * (1 - lr * wd)
        avg = momentum * avg + g
        of_p, of_g = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(g**2))
        local = lr * coefficient * of_p / (of_g + of_p * wd + eps)
        p = p - (min(lr, local) if clip else local) * avg
        yield p


def fastai_lamb(p, grads, *, lr, b1=0.9, b2=0.99, eps=1e-5, wd=0.0):
    avg, sqr = np.zeros_like(p), np.zeros_like(p)
    for t, g in steps(grads):
        p = p * (1 - lr * wd)
        avg, sqr = b1 * avg + (1 - b1) * g, b2 * sqr + (1 - b2) * g**2
        a = avg / (1 - b1**t) / (np.sqrt(sqr / (1 - b2**t)) + eps)
        r1, r2 = np.sqrt(np.mean(p**2)), np.sqrt(np.mean(a**2))
        p = p - lr * (1 if r1 == 0 or r2 == 0 else min(r1 / r2, 10)) * a
        yield p


def fastai_ranger(p, grads, *, lr, wd):
    slow, fast = p, p
    mu, nu = np.zeros_like(p), np.zeros_like(p)
    for t, g in steps(grads):
        mu, nu = 0.95 * mu + 0.05 * g, 0.99 * nu + 0.01 * g**2
        rho = 199 - 2 * t * 0.99**t / (1 - 0.99**t)
        fast = fast * (1 - lr * wd)
        u = mu / (1 - 0.95**t)
        if rho > 5:
            r = np.sqrt((rho - 4) * (rho - 2) * 199 / (195 * 197 * rho))
            u = r * u / (np.sqrt(nu / (1 - 0.99**t)) + 1e-6)
        fast = fast - lr * u
        if t % 6 == 0:
            slow = slow + 0.5 * (fast - slow)
            fast = slow
        yield fast
