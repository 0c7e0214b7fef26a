"""The letters that languages write, beyond what a small sample of text shows.

Letters of the national alphabets in lower case, as the Unicode Common Locale Data Repository lists them.
"""

_LATIN = "abcdefghijklmnopqrstuvwxyz'-"
_ARABIC = "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيًٌٍَُِّْٰـ"

ALPHABETS: dict[str, frozenset[str]] = {
    code: frozenset(letters)
    for code, letters in {
        "ar": _ARABIC,
        "bg": "абвгдежзийклмнопрстуфхцчшщъьюяѝ",
        "de": _LATIN + "äöüß",
        "el": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ",
        "en": _LATIN,
        "es": _LATIN + "áéíóúüñ",
        "fr": _LATIN + "àâæçèéêëîïôœùûüÿ",
        "ro": _LATIN + "ăâîșțşţ",
        "ru": "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
        "sw": _LATIN,
        "tr": _LATIN + "çğıöşüâîû\u0307",
        "ur": "ءآأؤئابپتٹثجچحخدڈذرڑزژسشصضطظعغفقکگلمنںهھہۂوۃیےۓًَُِّٰ",
        "vi": _LATIN + "ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ",
    }.items()
}
