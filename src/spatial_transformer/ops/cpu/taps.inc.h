// Where output pixels read: their coordinates on the image, then the first pixel and the fraction.
//
// The arithmetic is that of samplers/eager.py, see there and coordinates.py for why. What differs:
// taps are always neighbours in the image's order. Beyond a reflecting edge, where the right
// neighbour stands on the left, the fraction is turned round instead.

// Pixels read before the first at or left of a coordinate, of W along an axis.
template <int W>
constexpr int kBefore = (W - 1) / 2;

// Coordinates on the image, in pixels, of the output's pixels.
template <class T, int D>
struct Points {
  const Call<T>& call;
  const T* map;
  double matrix[D + 1][D + 1];  // in pixels, about the output's centre; the last row is the depth
  double middle[D];             // what projection adds, the image's centre
  double centre_y, centre_z;    // the output's
  T slope[D + 1], start[D + 1];
  Vec<T> lanes;
  const T* grid;

  STN_INLINE Points(const Call<T>& call, int64_t b)
      : call(call), map(call.map_of(b)), centre_y(call.axis(1).out_centre),
        centre_z(call.axis(2).out_centre) {
    if (call.p.grid) return;
    // It is exact for the identity, and offsets from the centre are halves and wholes, exact too.
    for (int k = 0; k < call.matrix_rows(); ++k) {
      const T* row = map + k * (D + 1);
      const double half = k < D ? call.axis(k).half : 1;
      for (int j = 0; j < D; ++j) {
        const Axis to = call.axis(j);
        matrix[k][j] = row[j] * to.per_step(half);
      }
      matrix[k][D] = half * row[D];
      if (k == D) break;
      middle[k] = call.axis(k).centre;
      if (!call.p.projective) matrix[k][D] += middle[k];
    }
    lanes = __builtin_convertvector(count_up<T>(), Vec<T>) - T(call.axis(0).out_centre);
  }

  // Where row r is, about the output's centre. Rows of all slices are counted through.
  STN_INLINE double y_of(int64_t r) const {
    return double(D == 3 ? r % call.p.out_size[1] : r) - centre_y;
  }
  STN_INLINE double z_of(int64_t r) const {
    return D == 3 ? double(r / call.p.out_size[1]) - centre_z : 0.0;
  }

  // Whether a matrix without projection gives finite coordinates everywhere.
  STN_INLINE bool finite() const {
    for (int k = 0; k < D; ++k) {
      double most = fabs(matrix[k][D]);
      for (int j = 0; j < D; ++j) most += fabs(matrix[k][j]) * double(call.p.out_size[j]);
      if (!(most < 1e30)) return false;
    }
    return true;
  }

  // Of a matrix: what a coordinate changes by from column to column.
  STN_INLINE T slope_of(int k) const { return T(matrix[k][0]); }

  STN_INLINE void row(int64_t r) {
    if (call.p.grid) {
      grid = map + r * call.p.out_size[0] * D;
      return;
    }
    const double y = y_of(r), z = z_of(r);
    for (int k = 0; k < call.matrix_rows(); ++k) {
      const double* m = matrix[k];
      slope[k] = slope_of(k);
      start[k] = T(D == 3 ? m[1] * y + (m[2] * z + m[D]) : m[1] * y + m[D]);
    }
  }

  // From column j on where there is neither a grid nor projection.
  STN_INLINE void straight(int64_t j, Vec<T>* u) const {
    const Vec<T> across = lanes + T(j);
    STN_UNROLL
    for (int k = 0; k < D; ++k) u[k] = across * slope[k] + start[k];
  }

  // From column j on, `left` of them; others are anything.
  STN_INLINE void at(int64_t j, int left, Vec<T>* u) const {
    if (call.p.grid) {
      const T* g = grid + j * D;
      T value[D][kLanes<T>];
      for (int n = 0; n < kLanes<T>; ++n) {
        for (int k = 0; k < D; ++k) value[k][n] = n < left ? g[n * D + k] : T(0);
      }
      for (int k = 0; k < D; ++k) {
        const Axis axis = call.axis(k);
        u[k] = load<Vec<T>>(value[k]) * T(axis.half) + T(axis.centre);
      }
      return;
    }
    straight(j, u);
    if (!call.p.projective) return;
    const Vec<T> across = lanes + T(j);
    const Vec<T> depth = across * slope[D] + start[D];
    for (int k = 0; k < D; ++k) {
      u[k] = depth > kEpsilon<T> ? u[k] / depth + T(middle[k]) : splat<T>(T(NAN));
    }
  }
};

// Where a vector of pixels reads, when some lane needs care.
template <class T, int D>
struct Taps {
  Int<T> index;    // of the first tap in the copy; of no use without a copy
  Vec<T> t[D];     // the fraction of a pixel
  Int<T> base[D];  // the pixel that t counts from, on the extended axis
  Vec<T> sign[D];  // du'/du: 1, or -1 where reflected
  Int<T> dead;     // the coordinate is not finite, or off the image

  // A gradient to u' is one to u; nothing where not finite, whatever it is.
  STN_INLINE Vec<T> turned(int k, const Vec<T>& slope) const {
    return to_mask<T>(dead) ? Vec<T>{} : slope * sign[k];
  }
};

// One axis of the image.
template <class T, int W>
struct Rule {
  int32_t n, period, turn, last;
  int64_t padding;
  T epsilon, tolerance, low, high;  // the first and the last base that reads pixels or the fill value
  T origin, from_origin;          // of the copy; what moves a coordinate there to be truncated
  T inside_from, inside_to;       // coordinates whose taps are all in memory
  int64_t pad, step;
  bool clamps;  // in copies with a constant around them whatever is far away reads as what is near

  STN_INLINE Rule(const Call<T>& call, int axis)
      : padding(call.p.padding), pad(call.pad), clamps(pad && padding == kConstant) {
    const int64_t size = call.p.size[axis];
    step = axis == 0 ? 1 : axis == 1 ? call.stride() : call.slice();
    n = int32_t(size);
    period = padding == kReflection ? 2 * n : padding == kMirror && n > 1 ? 2 * n - 2 : n;
    // from `turn` on a period runs backwards; there the first pixel of the pair is last - base
    turn = padding == kReflection ? n : n - 1;
    last = period - (padding == kReflection ? 2 : 1);
    epsilon = call.p.single ? T(kEpsilon<float>) : kEpsilon<T>;
    tolerance = epsilon * T(n);
    origin = T(pad);
    from_origin = tolerance + origin;
    low = T(kBefore<W> - W);
    high = T(n + kBefore<W>);
    inside_from = T(kBefore<W> - pad);
    inside_to = T(n - W + kBefore<W> + 1 + pad) - 2 * tolerance;
    // Nor beyond what `careful` changes: which of the two is used depends on the vector's width.
    const bool repeats = padding != kConstant && padding != kBorder;
    const T from = repeats ? T(0) : low, to = repeats ? T(padding == kWrap ? n : turn) : high;
    inside_from = inside_from > from ? inside_from : from;
    inside_to = inside_to < to - 2 * tolerance ? inside_to : to - 2 * tolerance;
  }

  STN_INLINE Mask<T> inside(const Vec<T>& u) const {
    return (u >= inside_from) & (u < inside_to);
  }
  // Not where its taps are surely off the image. NaN reads the fill value, too.
  STN_INLINE Mask<T> may_read(const Vec<T>& u) const {
    return (u >= low - 1) & (u <= high + 1);
  }
  STN_INLINE Vec<T> clamped(Vec<T> u) const {
    u = u > low ? u : splat<T>(low);
    return u < high ? u : splat<T>(high);
  }

  // Where inside: the base's place in memory and the fraction.
  STN_INLINE Int<T> quick(const Vec<T>& u, Vec<T>& t) const {
    // counted from the copy's edge it is not negative, so that it can be truncated
    const Int<T> place = to_int<T>(u + from_origin);
    t = u - (__builtin_convertvector(place, Vec<T>) - origin);
    t = t <= tolerance ? Vec<T>{} : t;
    return place;
  }

  // Any finite coordinate -> base, fraction, sign.
  STN_INLINE Int<T> careful(Vec<T> u, Vec<T>& t, Vec<T>& sign) const {
    sign = splat<T>(1);
    if (padding == kConstant || padding == kBorder) {
      u = clamped(u);
      Vec<T> base = floor_small<T>(u + tolerance);
      t = u - base;
      t = t <= tolerance ? Vec<T>{} : t;
      return to_int<T>(base < high ? base : splat<T>(high));
    }
    // as `tolerance` where `quick` is used; what is far off the image has been rounded as it is large
    Vec<T> within = epsilon * (u < 0 ? -u : u);
    within = within > tolerance ? within : splat<T>(tolerance);
    within = within < T(0.25) ? within : splat<T>(T(0.25));
    const T far = T(1 << 20), length = T(period);
    if (any((u > far) | (u < -far))) {  // exact however large, and slow
      for (int k = 0; k < kLanes<T>; ++k) u[k] = T(fmod(double(u[k]), double(period)));
    }
    Vec<T> base = floor_small<T>(u + within);
    t = u - base;
    t = t <= within ? Vec<T>{} : t;
    base = base - length * floor_small<T>(base / length);
    base = base < 0 ? base + length : base;
    base = base >= length ? base - length : base;
    Int<T> i = to_int<T>(base);
    if (padding == kWrap) return i;
    if (n == 1) return Int<T>{};  // the one pixel there is
    const Mask<T> back = base >= T(turn);
    t = back ? 1 - t : t;
    sign = back ? splat<T>(-1) : sign;
    return to_int_mask<T>(back) ? last - i : i;
  }
};

template <class T, int D, int W>
struct Finder {
  Rule<T, W> rules[D];

  STN_INLINE explicit Finder(const Call<T>& call) : Finder(call, std::make_index_sequence<D>()) {}
  template <size_t... K>
  STN_INLINE Finder(const Call<T>& call, std::index_sequence<K...>) : rules{{call, K}...} {}

  // The first tap's place in memory and the fractions, if all taps of all lanes are in memory. In
  // copies with a constant around them those of all finite coordinates are: what is far away reads
  // that. (So would NaN, but an infinite gradient must not spoil theta's there.)
  STN_INLINE bool quick(const Vec<T>* u, Int<T>& index, Vec<T>* t) const {
    if (rules[0].clamps) {
      Vec<T> nothing = u[0] - u[0];
      STN_UNROLL
      for (int k = 1; k < D; ++k) nothing += u[k] - u[k];
      if (any(nothing != 0)) return false;
      clamped(u, index, t);
      return true;
    }
    Mask<T> inside = rules[0].inside(u[0]);
    STN_UNROLL
    for (int k = 1; k < D; ++k) inside &= rules[k].inside(u[k]);
    if (any(~inside)) return false;
    near(u, index, t);
    return true;
  }
  // Whether all lanes are so far off the image that all taps read the fill value.
  STN_INLINE bool off(const Vec<T>* u) const {
    if (rules[0].padding != kConstant) return false;
    Mask<T> on = rules[0].may_read(u[0]);
    STN_UNROLL
    for (int k = 1; k < D; ++k) on &= rules[k].may_read(u[k]);
    return !any(on);
  }
  STN_INLINE void clamped(const Vec<T>* u, Int<T>& index, Vec<T>* t) const {
    Vec<T> in[D];
    STN_UNROLL
    for (int k = 0; k < D; ++k) in[k] = rules[k].clamped(u[k]);
    near(in, index, t);
  }
  STN_INLINE void near(const Vec<T>* u, Int<T>& index, Vec<T>* t) const {
    index = rules[0].quick(u[0], t[0]) - kBefore<W>;
    STN_UNROLL
    for (int k = 1; k < D; ++k) {
      index += (rules[k].quick(u[k], t[k]) - kBefore<W>) * int32_t(rules[k].step);
    }
  }

  // Any coordinates whatever.
  STN_INLINE void careful(const Vec<T>* u, Taps<T, D>& taps) const {
    Mask<T> finite = (u[0] - u[0]) == 0;
    for (int k = 1; k < D; ++k) finite &= (u[k] - u[k]) == 0;
    taps.dead = ~to_int_mask<T>(finite);
    taps.index = Int<T>{};
    for (int k = 0; k < D; ++k) {
      const Rule<T, W>& rule = rules[k];
      const Int<T> base = rule.careful(finite ? u[k] : Vec<T>{}, taps.t[k], taps.sign[k]);
      taps.base[k] = base;
      taps.index += (base + int32_t(rule.pad) - kBefore<W>) * int32_t(rule.step);
    }
  }
};

// With a constant around the image: whether there are pixels with taps on it. The others are dead,
// whatever the vector's do.
template <class T, int D, int W>
STN_INLINE bool any_on(const Call<T>& call, Taps<T, D>& taps) {
  for (int k = 0; k < D; ++k) {
    const Int<T> first = taps.base[k] - kBefore<W>;
    taps.dead |= (first <= -W) | (first >= int32_t(call.p.size[k]));
  }
  return any(~taps.dead);
}

// Flat indices of the taps of some pixels on the plane itself; -1: the fill value. Whether there is
// any but that.
template <class T, int D, int W>
bool tap_indices(const Call<T>& call, Taps<T, D>& taps, int32_t (*at)[kLanes<T>]) {
  constexpr int count = D == 3 ? W * W * W : W * W;
  if (call.p.padding == kConstant) {
    if (!any_on<T, D, W>(call, taps)) {
      for (int n = 0; n < count; ++n) store(at[n], Int<T>{} - 1);
      return false;
    }
    int32_t step = 1;
    for (int k = 0; k < D; ++k) {
      const int32_t size = int32_t(call.p.size[k]);
      for (int n = 0; n < count; ++n) {
        const int tap = k == 0 ? n % W : k == 1 ? n / W % W : n / (W * W);
        const Int<T> place = taps.base[k] - kBefore<W> + tap;
        // of the axes before, or none; negative where the pixel is dead
        const Int<T> before = k > 0 ? load<Int<T>>(at[n]) : Int<T>{taps.dead};
        const Int<T> off_here = (place < 0) | (place >= size) | (before < 0);
        store(at[n], off_here ? Int<T>{} - 1 : before + place * step);
      }
      step *= size;
    }
    return true;
  }
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    int64_t place[D][W];
    int64_t step = 1;
    for (int k = 0; k < D; ++k) {
      for (int w = 0; w < W; ++w) {
        const int64_t i = taps.base[k][lane] - kBefore<W> + w;
        place[k][w] = taps.dead[lane] ? -1 : pixel_at(i, call.p.size[k], call.p.padding);
        if (place[k][w] >= 0) place[k][w] *= step;
      }
      step *= call.p.size[k];
    }
    for (int n = 0; n < count; ++n) {
      const int64_t x = place[0][n % W], y = place[1][n / W % W];
      const int64_t z = D == 3 ? place[D - 1][n / (W * W)] : 0;
      at[n][lane] = int32_t(x < 0 || y < 0 || z < 0 ? -1 : x + y + z);
    }
  }
  return true;
}
