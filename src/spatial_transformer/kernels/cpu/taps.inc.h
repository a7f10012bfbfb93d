// Where output pixels read: for a chunk of them the top left pixel of four and the weights.
//
// The arithmetic is that of samplers/eager.py, see there and coordinates.py for why. What differs:
// the four pixels are always two pairs of neighbours. Beyond a reflecting edge, where the right
// neighbour stands on the left, the pair is read in the image's order and the weight turned round.

constexpr int32_t kDead = -8;         // ix of a pixel whose coordinate is not finite
constexpr int32_t kMixed = -1;        // index: some of the four are off the image
constexpr int32_t kAllOutside = -2;   // index: all four read the fill value

template <class T>
struct Taps {
  static constexpr int room = kChunk + kSlack;
  int32_t index[room];        // of the top left pixel; negative: see ix, iy
  int32_t ix[room], iy[room]; // the same as column and row, from -kPad to n
  T tx[room], ty[room];       // weight of the right and of the lower pixels
  T sx[room], sy[room];       // du'/du: 1, or -1 where reflected, or 0 where not finite
};

// One axis of the image.
template <class T>
struct Rule {
  int32_t n, more, period, turn, last;
  T tolerance, shift;

  STN_INLINE Rule(int64_t size, int64_t kernel, int64_t padding) {
    n = int32_t(size);
    more = kernel == kNearest ? 0 : 1;  // pixels read beyond the first
    period = padding == kReflection ? 2 * n : padding == kMirror && n > 1 ? 2 * n - 2 : n;
    // from `turn` on a period runs backwards; there the first pixel of the pair is last - base
    turn = padding == kReflection ? n : n - more;
    last = period - (padding == kReflection ? 1 : 0) - more;
    tolerance = 4 * (sizeof(T) == 4 ? T(1.1920928955078125e-07) : T(2.220446049250313e-16)) * T(n);
    shift = kernel == kNearest ? T(0.5) : T(0);
  }
};

// Finite pixel coordinates -> column (or row), weight, sign.
template <class T, int64_t P>
STN_INLINE void axis_taps(const Rule<T>& r, Vec<T> u, Int<T>& i, Vec<T>& t, Vec<T>& s) {
  s = splat<T>(1);
  if (P == kConstant || P == kBorder) {
    const Vec<T> low = splat<T>(-kPad), high = splat<T>(T(r.n));
    u = u > low ? u : low;
    u = u < high ? u : high;
    Vec<T> base = floor_small<T>(u + (r.shift + r.tolerance));
    t = u - base;
    t = t <= r.tolerance ? Vec<T>{} : t;
    i = to_int<T>(base < high ? base : high);
    return;
  }
  const T far = T(1 << 20), period = T(r.period);
  if (any((u > far) | (u < -far))) {  // exact however large, and slow
    for (int k = 0; k < kLanes<T>; ++k) u[k] = T(fmod(double(u[k]), double(r.period)));
  }
  Vec<T> base = floor_small<T>(u + (r.shift + r.tolerance));
  t = u - base;
  t = t <= r.tolerance ? Vec<T>{} : t;
  base = base - period * floor_small<T>(base / period);
  base = base < 0 ? base + period : base;
  base = base >= period ? base - period : base;
  i = to_int<T>(base);
  if (P == kWrap || r.n == 1) {
    if (P != kWrap) i = Int<T>{};  // the one pixel there is
    return;
  }
  const Mask<T> back = base >= T(r.turn);
  i = to_int_mask<T>(back) ? r.last - i : i;
  t = back ? 1 - t : t;
  s = back ? splat<T>(-1) : s;
}

// The taps of `count` pixels from their pixel coordinates.
template <class T, int64_t P, bool Padded>
void make_taps(const Call<T>& call, const T* us, const T* vs, int count, Taps<T>& taps) {
  const Rule<T> rx(call.p.width, call.p.kernel, P), ry(call.p.height, call.p.kernel, P);
  const int32_t stride = int32_t(call.stride()), cell = int32_t(call.cell());
  for (int at = 0; at < count; at += kLanes<T>) {
    const Vec<T> u = load<Vec<T>>(us + at), v = load<Vec<T>>(vs + at);
    const Mask<T> finite = ((u - u) == 0) & ((v - v) == 0);
    const Int<T> known = to_int_mask<T>(finite), zero = {};
    Int<T> ix, iy;
    Vec<T> tx, ty, sx, sy;
    axis_taps<T, P>(rx, finite ? u : Vec<T>{}, ix, tx, sx);
    axis_taps<T, P>(ry, finite ? v : Vec<T>{}, iy, ty, sy);
    Int<T> index;
    if (Padded) {
      index = (iy + kPad) * stride + (ix + kPad);
      index = known ? index : cell - zero;
    } else {
      const Int<T> whole =
          (ix >= 0) & (iy >= 0) & (ix < rx.n - rx.more) & (iy < ry.n - ry.more) & known;
      Int<T> away = ~known;
      if (P == kConstant) {
        away |= (ix < -rx.more) | (iy < -ry.more) | (ix >= rx.n) | (iy >= ry.n);
      }
      index = whole ? iy * stride + ix : (away ? kAllOutside - zero : kMixed - zero);
      store(taps.ix + at, known ? ix : kDead - zero);
      store(taps.iy + at, iy);
    }
    store(taps.index + at, index);
    store(taps.tx + at, finite ? tx : Vec<T>{});
    store(taps.ty + at, finite ? ty : Vec<T>{});
    store(taps.sx + at, finite ? sx : Vec<T>{});
    store(taps.sy + at, finite ? sy : Vec<T>{});
  }
}

// Pixel coordinates on the image of `rows` x `columns` pixels of output b from (row, column) on.
template <class T>
STN_INLINE void chunk_coordinates(const Call<T>& call, int64_t b, int64_t row, int64_t rows,
                                  int64_t column, int64_t columns, T* u, T* v) {
  const Plan& p = call.p;
  const Axis x(p.width, p.out_width, p.align_corners), y(p.height, p.out_height, p.align_corners);
  const T* map = call.map_of(b);
  const int count = int(rows * columns);
  if (p.grid) {
    const T* g = map + (row * p.out_width + column) * 2;
    for (int j = 0; j < count; ++j) {
      u[j] = g[2 * j] * T(x.half) + T(x.centre);
      v[j] = g[2 * j + 1] * T(y.half) + T(y.centre);
    }
  } else {
    // The matrix in pixels, about the output's centre: it is exact for the identity, and offsets
    // from the centre are halves and wholes, exact too.
    const double xx = map[0] * x.ratio, xy = x.half * map[1] * y.per_step;
    const double yx = y.half * map[3] * x.per_step, yy = map[4] * y.ratio;
    const double x0 = x.half * map[2] + x.centre, y0 = y.half * map[5] + y.centre;
    Vec<T> from;
    for (int k = 0; k < kLanes<T>; ++k) from[k] = T(double(column + k) - x.out_centre);
    for (int64_t i = 0; i < rows; ++i) {
      const double down = double(row + i) - y.out_centre;
      const T u0 = T(xy * down + x0), v0 = T(yy * down + y0);
      // vectors run over the row's end; the next row is written over that
      for (int64_t j = 0; j < columns; j += kLanes<T>) {
        const Vec<T> across = from + T(j);
        store(u + i * columns + j, across * T(xx) + u0);
        store(v + i * columns + j, across * T(yx) + v0);
      }
    }
  }
  for (int k = count; k < count + kLanes<T>; ++k) u[k] = v[k] = T(NAN);  // reads nothing
}

template <class T>
void chunk_taps(const Call<T>& call, int64_t b, int64_t row, int64_t rows, int64_t column,
                int64_t columns, Taps<T>& taps) {
  T u[Taps<T>::room], v[Taps<T>::room];
  chunk_coordinates(call, b, row, rows, column, columns, u, v);
  const int count = int(rows * columns);
#define STN_MAKE(P) \
  (call.padded ? make_taps<T, P, true> : make_taps<T, P, false>)(call, u, v, count, taps)
  switch (call.p.padding) {
    case kConstant: return STN_MAKE(kConstant);
    case kBorder: return STN_MAKE(kBorder);
    case kReflection: return STN_MAKE(kReflection);
    case kMirror: return STN_MAKE(kMirror);
    default: return STN_MAKE(kWrap);
  }
#undef STN_MAKE
}
