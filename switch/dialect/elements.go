package dialect

import (
	"fmt"

	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
)

// element is what a data element is called, and whether its content may be shown.
type element struct {
	en, zh string
	secret secrecy
}

// secrecy says how a value may be shown to a person.
type secrecy uint8

const (
	shown      secrecy = iota // as it is
	cardNumber                // first six and last four digits
	hidden                    // its length only
)

// lastElement is the highest data element of a 128-bit bitmap.
const lastElement = 128

// elements names every data element that a dialect knows (0 is the message type,
// 1 the bitmap). Names: ISO 8583:1987, and the UnionPay POS convention for the
// private ones.
var elements = [lastElement + 1]element{
	0:   {en: "message type", zh: "消息类型"},
	1:   {en: "bitmap", zh: "位图"},
	2:   {en: "card number", zh: "主账号", secret: cardNumber},
	3:   {en: "processing code", zh: "交易处理码"},
	4:   {en: "amount", zh: "交易金额"},
	5:   {en: "amount, settlement", zh: "清算金额"},
	7:   {en: "transmission date and time", zh: "交易传输时间"},
	9:   {en: "conversion rate, settlement", zh: "清算汇率"},
	11:  {en: "systems trace audit number", zh: "受卡方系统跟踪号"},
	12:  {en: "local time", zh: "受卡方所在地时间"},
	13:  {en: "local date", zh: "受卡方所在地日期"},
	14:  {en: "expiry date", zh: "卡有效期"},
	15:  {en: "settlement date", zh: "清算日期"},
	18:  {en: "merchant category", zh: "商户类型"},
	22:  {en: "entry mode", zh: "服务点输入方式码"},
	23:  {en: "card sequence number", zh: "卡序列号"},
	25:  {en: "condition code", zh: "服务点条件码"},
	26:  {en: "PIN capture code", zh: "服务点PIN获取码"},
	32:  {en: "acquirer", zh: "受理机构标识码"},
	33:  {en: "forwarder", zh: "发送机构标识码"},
	35:  {en: "track 2", zh: "二磁道数据", secret: hidden},
	36:  {en: "track 3", zh: "三磁道数据", secret: hidden},
	37:  {en: "retrieval reference number", zh: "检索参考号"},
	38:  {en: "authorisation code", zh: "授权标识应答码"},
	39:  {en: "answer code", zh: "应答码"},
	41:  {en: "terminal", zh: "受卡机终端标识码"},
	42:  {en: "merchant", zh: "受卡方标识码"},
	43:  {en: "merchant name and place", zh: "受卡方名称地址"},
	44:  {en: "additional response data", zh: "附加响应数据"},
	45:  {en: "track 1", zh: "一磁道数据", secret: hidden},
	48:  {en: "additional data, private", zh: "附加数据"},
	49:  {en: "programme or currency", zh: "交易货币代码"},
	50:  {en: "target programme", zh: "清算货币代码"},
	52:  {en: "PIN block", zh: "个人标识码数据", secret: hidden},
	53:  {en: "security control", zh: "安全控制信息"},
	54:  {en: "balances", zh: "余额"},
	55:  {en: "chip data", zh: "IC卡数据域", secret: hidden},
	59:  {en: "keys and PIN block", zh: "密钥序列号与个人标识码数据", secret: hidden},
	60:  {en: "batch and network", zh: "自定义域60"},
	61:  {en: "original transaction", zh: "原始信息域"},
	62:  {en: "private data 62", zh: "自定义域62"},
	63:  {en: "private data 63", zh: "自定义域63"},
	64:  {en: "message authentication code", zh: "报文鉴别码"},
	66:  {en: "settlement code", zh: "清算代码"},
	70:  {en: "network management code", zh: "网络管理信息码"},
	74:  {en: "credits, number", zh: "贷记笔数"},
	75:  {en: "credits reversed, number", zh: "贷记冲正笔数"},
	76:  {en: "debits, number", zh: "借记笔数"},
	77:  {en: "debits reversed, number", zh: "借记冲正笔数"},
	78:  {en: "transfers, number", zh: "转账笔数"},
	79:  {en: "transfers reversed, number", zh: "转账冲正笔数"},
	80:  {en: "inquiries, number", zh: "查询笔数"},
	81:  {en: "authorisations, number", zh: "授权笔数"},
	82:  {en: "credits, processing fee", zh: "贷记服务费"},
	83:  {en: "credits, transaction fee", zh: "贷记交易费"},
	84:  {en: "debits, processing fee", zh: "借记服务费"},
	85:  {en: "debits, transaction fee", zh: "借记交易费"},
	86:  {en: "credits, amount", zh: "贷记金额"},
	87:  {en: "credits reversed, amount", zh: "贷记冲正金额"},
	88:  {en: "debits, amount", zh: "借记金额"},
	89:  {en: "debits reversed, amount", zh: "借记冲正金额"},
	90:  {en: "original data elements", zh: "原始数据元"},
	95:  {en: "replacement amounts", zh: "替换金额"},
	97:  {en: "net settlement amount", zh: "净清算额"},
	100: {en: "receiving institution", zh: "接收机构标识码"},
	102: {en: "source account", zh: "账户标识1", secret: cardNumber},
	103: {en: "target account", zh: "账户标识2", secret: cardNumber},
	120: {en: "key block", zh: "密钥块", secret: hidden},
	125: {en: "PIN block, format 4", zh: "个人标识码数据(格式4)", secret: hidden},
	128: {en: "message authentication code", zh: "报文鉴别码"},
}

// elementAt returns the names of de, and "unknown element" for one without.
func elementAt(de int) element {
	if de < 0 || de > lastElement || elements[de].en == "" {
		return element{en: "unknown element", zh: "未定义", secret: hidden}
	}
	return elements[de]
}

// fixed describes an element of exactly n units.
func fixed(de, n int, enc wireEncoder) field.Field {
	return field.NewString(&field.Spec{Length: n, Description: elements[de].en, Enc: enc, Pref: fixedLength{}})
}

// variable describes an element of 1 to n units that a length precedes.
func variable(de, n int, enc wireEncoder, length wirePrefixer) field.Field {
	return field.NewString(&field.Spec{Length: n, Description: elements[de].en, Enc: enc, Pref: length})
}

// bitmap describes a primary bitmap and the secondary that its first bit announces.
func bitmap(enc encoding.Encoder) field.Field {
	return field.NewBitmap(&field.Spec{Length: bitmapSize, Description: elements[1].en, Enc: enc, Pref: fixedLength{}})
}

// wireOf returns the encoder and prefixer of an element built by fixed or
// variable. A spec whose element was built otherwise does not pass the tests.
func wireOf(spec *field.Spec) (wireEncoder, wirePrefixer) {
	enc, _ := spec.Enc.(wireEncoder)
	length, _ := spec.Pref.(wirePrefixer)
	return enc, length
}

// format renders an element's format as the standard writes it, with its form on
// the wire: "n..19 LL, BCD, left".
func format(spec *field.Spec) string {
	enc, length := wireOf(spec)
	if length.digits() == 0 {
		return fmt.Sprintf("%s %d, %s", enc.chars(), spec.Length, enc.form())
	}
	return fmt.Sprintf("%s..%d %s, %s", enc.chars(), spec.Length, length.form(), enc.form())
}
