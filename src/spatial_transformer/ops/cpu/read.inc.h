// Equation (3) and its derivatives at a vector of pixels: weights, values and slopes.

// Keys' cubic with a = -0.75, by Horner's rule as samplers/pieces.py has it: exact where t is 0.
template <class T>
STN_INLINE void cubic_weights(const Vec<T>& t, Vec<T>* w) {
  w[0] = ((T(-0.75) * t + T(1.5)) * t + T(-0.75)) * t;
  w[1] = (T(1.25) * t + T(-2.25)) * t * t + 1;
  w[2] = ((T(-1.25) * t + T(1.5)) * t + T(0.75)) * t;
  w[3] = (T(0.75) * t + T(-0.75)) * t * t;
}
template <class T>
STN_INLINE void cubic_slopes(const Vec<T>& t, Vec<T>* w) {
  w[0] = (T(-2.25) * t + T(3)) * t + T(-0.75);
  w[1] = (T(3.75) * t + T(-4.5)) * t;
  w[2] = (T(-3.75) * t + T(3)) * t + T(0.75);
  w[3] = (T(2.25) * t + T(-1.5)) * t;
}

// The weights of W taps along each axis and, for cubic, what they change by.
template <class T, int D, int W>
struct Weights {
  Vec<T> w[D][W], slope[D][W];

  STN_INLINE Weights(const Vec<T>* t, bool slopes) {
    STN_UNROLL
    for (int k = 0; k < D; ++k) {
      if (W == 2) {
        w[k][0] = 1 - t[k], w[k][1] = t[k];
      } else {
        cubic_weights<T>(t[k], w[k]);
        if (slopes) cubic_slopes<T>(t[k], slope[k]);
      }
    }
  }

  // The weight of tap n of all, x fastest.
  STN_INLINE Vec<T> product(int n) const {
    const Vec<T> on = w[0][n % W] * w[1][n / W % W];
    return D == 3 ? on * w[D - 1][n / (W * W)] : on;
  }
};

template <int D, int W>
constexpr int kTaps = D == 3 ? W * W * W : W * W;

// Of the plane that is read, in pixels.
struct Strides {
  int64_t row, slice;
};
// From the first tap to tap n.
template <int D, int W>
STN_INLINE int64_t tap_offset(const Strides& strides, int n) {
  return n % W + n / W % W * strides.row + (D == 3 ? n / (W * W) * strides.slice : 0);
}

// Sums over the taps' values.
template <class V, int D, int W>
STN_INLINE V weighted(const V* values, const V (*w)[W]) {
  V total = {};
  STN_UNROLL
  for (int z = 0; z < (D == 3 ? W : 1); ++z) {
    V on_z = {};
    STN_UNROLL
    for (int y = 0; y < W; ++y) {
      const V* v = values + (z * W + y) * W;
      V on_y = v[0] * w[0][0];
      STN_UNROLL
      for (int x = 1; x < W; ++x) on_y += v[x] * w[0][x];
      on_z = y ? on_z + on_y * w[1][y] : on_y * w[1][y];
    }
    if (D == 2) return on_z;
    total = z ? total + on_z * w[D - 1][z] : on_z * w[D - 1][z];
  }
  return total;
}

// The derivative along an axis. Between two taps it is their difference, taken first: what is
// subtracted last has lost its digits.
template <class V, int D, int W>
STN_INLINE V sloped(int axis, const V* values, const V (*w)[W], const V (*slope)[W]) {
  constexpr int steps[3] = {1, W, W * W};
  if (W == 2) {
    const int step = steps[axis], u = axis == 0 ? 1 : 0, v = axis == 2 ? 1 : 2;
    V along[D - 1];
    STN_UNROLL
    for (int k = 0; k < D - 1; ++k) {
      const V* from = values + (k ? steps[v] : 0);
      along[k] = (from[step] - from[0]) * w[u][0] + (from[steps[u] + step] - from[steps[u]]) * w[u][1];
    }
    return D == 2 ? along[0] : along[0] * w[v % D][0] + along[D - 2] * w[v % D][1];
  }
  V mixed[D][W];
  STN_UNROLL
  for (int k = 0; k < D; ++k) {
    STN_UNROLL
    for (int n = 0; n < W; ++n) mixed[k][n] = k == axis ? slope[k][n] : w[k][n];
  }
  return weighted<V, D, W>(values, mixed);
}

// The values of all taps, from the plane or its copy.
template <class T, int D, int W, bool Gather = false>
STN_INLINE void load_taps(const Strides& strides, const int32_t* index, const T* plane,
                          Vec<T>* values) {
  constexpr int few = W == 2 ? kTaps<D, W> / 2 : 2;  // as many as there are registers for
  STN_UNROLL
  for (int n = 0; n < kTaps<D, W>; n += 2 * few) {
    const T* sources[few];
    STN_UNROLL
    for (int k = 0; k < few; ++k) sources[k] = plane + tap_offset<D, W>(strides, n + 2 * k);
    load_pairs<Gather, few>(sources, index, values + n);
  }
}

// The same from the plane itself, where some taps are not on it.
template <class T, int D, int W>
struct EdgeTaps {
  static constexpr int kPairs = kTaps<D, W> / 2;
  const bool paired;  // two taps along x, with a constant around the image: the others are `at`
  int32_t at[kTaps<D, W>][kLanes<T>];
  // where pairs of neighbours on the image are; how they are the taps
  int32_t pair[kPairs + 1][kLanes<T>];
  Mask<T> on[kPairs + 1];  // the image has that row
  Mask<T> left, right;     // the first tap is left of the pair, or is its second

  STN_INLINE explicit EdgeTaps(const Call<T>& call)
      : paired(W == 2 && call.p.padding == kConstant && call.p.size[0] > 1) {}

  // Whether there is any but the fill value.
  STN_INLINE bool find(const Call<T>& call, Taps<T, D>& taps) {
    if (!paired) return tap_indices<T, D, W>(call, taps, at);
    if (!any_on<T, D, W>(call, taps)) return false;
    const auto within = [](const Int<T>& i, int64_t last) STN_LAMBDA {
      const Int<T> high = i < int32_t(last) ? i : Int<T>{} + int32_t(last);
      return high > 0 ? high : Int<T>{};
    };
    const Int<T> x = within(taps.base[0], call.p.size[0] - 2);
    left = to_mask<T>(Int<T>(taps.base[0] < x)), right = to_mask<T>(Int<T>(taps.base[0] > x));
    STN_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      Int<T> index = x, off = Int<T>{};
      STN_UNROLL
      for (int k = 1; k < D; ++k) {
        const Int<T> place = taps.base[k] + (k == 1 ? n % 2 : n / 2);
        const Int<T> row = within(place, call.p.size[k] - 1);
        off |= row != place;
        index += row * int32_t(k == 1 ? call.stride() : call.slice());
      }
      store(pair[n], index);
      on[n] = to_mask<T>(Int<T>(~off));
    }
    return true;
  }
  STN_INLINE void load(const T* plane, T fill, Vec<T>* values) const {
    if (!paired) {
      for (int n = 0; n < kTaps<D, W>; ++n) values[n] = load_known(plane, at[n], fill);
      return;
    }
    const Vec<T> none = splat(fill);
    STN_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      Vec<T> read[2];
      load_pairs<false, 1>(&plane, pair[n], read);
      const Vec<T> first = right ? read[1] : left ? none : read[0];
      const Vec<T> second = left ? read[0] : right ? none : read[1];
      values[2 * n] = on[n] ? first : none;
      values[2 * n + 1] = on[n] ? second : none;
    }
  }
};

// ---- The gradient to the maps, equation (7): from dL/du of the pixels on ------------------------

// Sums over a tile of what the matrix's gradient is made of, and the gradient to grids. There are
// sixteen sums side by side, added in a fixed order, however wide the vectors are.
template <class T, int D>
struct MapGradient {
  const Call<T>& call;
  const Points<T, D>& points;
  const int64_t b;
  bool add = false;                         // to what other channels have left in a grid's gradient
  double total[D + 1][(D + 1) * kGroup] = {};  // row of the matrix by column

  STN_INLINE MapGradient(const Call<T>& call, const Points<T, D>& points, int64_t b)
      : call(call), points(points), b(b) {}

  // dL/du, in pixels of the image, of `count` pixels of row r from column j on. `points` is at that
  // row; what lies behind the pixels, to a whole group, is anything.
  template <int N>
  STN_INLINE void pixels(int64_t r, int64_t j, int count, const T (*slopes)[N], int from = 0) {
    if (call.p.grid) {
      T* grid = call.grad_map + (b * call.out_plane() + r * call.p.out_size[0] + j) * D;
      for (int k = 0; k < D; ++k) {
        const T half = T(call.axis(k).half);
        for (int n = 0; n < count; ++n) {
          T& to = grid[n * D + k];
          to = slopes[k][from + n] * half + (add ? to : T(0));
        }
      }
      return;
    }
    constexpr int wide = kLanes<T>, vectors = kGroup / wide;
    const bool projective = call.p.projective;
    Vec<T> sums[D + 1][2][vectors] = {};  // times 1, times x
    for (int n = 0; n < count; n += kGroup) {
      STN_UNROLL
      for (int v = 0; v < vectors; ++v) {
        const int first = n + v * wide, left = count - first;
        const Vec<T> across = points.lanes + T(j + first);
        Vec<T> rows[D + 1] = {};
        STN_UNROLL
        for (int k = 0; k < D; ++k) {
          const Vec<T> slope = load<Vec<T>>(slopes[k] + from + first);
          rows[k] = left < wide ? first_lanes<T>(slope, left) : slope;
        }
        if (projective) {
          Vec<T> u[D];
          points.at(j + first, left, u);
          const Vec<T> divisor = across * points.slope[D] + points.start[D];
          const Vec<T> in_front = divisor > kEpsilon<T> ? 1 / divisor : Vec<T>{};
          for (int k = 0; k < D; ++k) {
            const Mask<T> none = rows[k] == 0;
            rows[k] *= in_front;
            const Vec<T> change = rows[k] * (u[k] - T(points.middle[k]));
            rows[D] -= none ? Vec<T>{} : change;  // u may not be finite
          }
        }
        STN_UNROLL
        for (int k = 0; k < D + 1; ++k) {
          if (k == D && !projective) break;
          sums[k][0][v] += rows[k];
          sums[k][1][v] += rows[k] * across;
        }
      }
    }
    const double y = points.y_of(r), z = points.z_of(r);
    STN_UNROLL
    for (int k = 0; k < D + 1; ++k) {
      if (k == D && !projective) break;
      T once[kGroup], times_x[kGroup];
      STN_UNROLL
      for (int v = 0; v < vectors; ++v) {
        store(once + v * wide, sums[k][0][v]);
        store(times_x + v * wide, sums[k][1][v]);
      }
      STN_UNROLL
      for (int n = 0; n < kGroup; n += kLanes<double>) {
        const Vec<double> plain = load_as_double(once + n);
        const auto sum = [&](int j, const Vec<double>& more) STN_LAMBDA {
          double* to = total[k] + j * kGroup + n;
          store(to, load<Vec<double>>(to) + more);
        };
        sum(0, load_as_double(times_x + n));
        sum(1, plain * y);
        if (D == 3) sum(2, plain * z);
        sum(D, plain);
      }
    }
  }

  // The same of a run of pixels of an affine map that are `at` these places in the output, about its
  // centre. Behind them, to a whole group, slopes are zero.
  template <int N>
  STN_INLINE void run(int count, const T (*slopes)[N], const T (*at)[N]) {
    constexpr int wide = kLanes<T>, vectors = kGroup / wide;
    STN_UNROLL
    for (int k = 0; k < D; ++k) {  // row by row: all of the sums would not be kept in registers
      Vec<T> sums[(D + 1) * vectors];
      STN_UNROLL
      for (int m = 0; m < (D + 1) * vectors; ++m) sums[m] = Vec<T>{};
      for (int n = 0; n < count; n += kGroup) {
        STN_UNROLL
        for (int v = 0; v < vectors; ++v) {
          const Vec<T> slope = load<Vec<T>>(slopes[k] + n + v * wide);
          STN_UNROLL
          for (int j = 0; j < D; ++j) {
            sums[j * vectors + v] += slope * load<Vec<T>>(at[j] + n + v * wide);
          }
          sums[D * vectors + v] += slope;
        }
      }
      T once[(D + 1) * kGroup];
      STN_UNROLL
      for (int m = 0; m < (D + 1) * vectors; ++m) store(once + m * wide, sums[m]);
      for (int n = 0; n < (D + 1) * kGroup; n += kLanes<double>) {
        double* to = total[k] + n;
        store(to, load<Vec<double>>(to) + load_as_double(once + n));
      }
    }
  }

  // Added to a part of the matrix's gradient.
  STN_INLINE void close(double* part) {
    if (call.p.grid) return;
    for (int k = 0; k < call.matrix_rows(); ++k) {
      const double half = k < D ? call.axis(k).half : 1;
      for (int j = 0; j <= D; ++j) {
        const Axis to = call.axis(j < D ? j : 0);
        double sum = 0;
        for (int n = 0; n < kGroup; ++n) sum += total[k][j * kGroup + n];
        *part++ += sum * (j < D ? to.per_step(half) : half);
      }
    }
  }
};
