// What fmt's own src/format.cc compiles, for a static link: Debian's libfmt-dev has no libfmt.a.
// fmt's header-only form would compile the same in each file that formats anything.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {

template FMT_API auto dragonbox::to_decimal(float x) noexcept -> dragonbox::decimal_fp<float>;
template FMT_API auto dragonbox::to_decimal(double x) noexcept -> dragonbox::decimal_fp<double>;

template FMT_API locale_ref::locale_ref(const std::locale& loc);
template FMT_API auto locale_ref::get<std::locale>() const -> std::locale;

template FMT_API auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template FMT_API auto decimal_point_impl(locale_ref) -> char;

template FMT_API void buffer<char>::append(const char* begin, const char* end);

#if FMT_VERSION < 110000  // an ordinary function since
template FMT_API void vformat_to(buffer<char>& buffer, string_view format,
                                 basic_format_args<format_context> arguments, locale_ref locale);
#endif

}  // namespace detail
FMT_END_NAMESPACE
